"""A sizing as text: Markdown tables, each number computed from the costs and assumptions given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from loadtest.capacity.costs import Costs
from loadtest.capacity.sizing import DAY_S, GENERATIONS, Assumptions, Sizing, size, worker_limit
from loadtest.figures import number_text

RATES = (10_000, 100_000, 1_000_000, 10_000_000)
#: Lengths of the dedup window that are compared, in days.
WINDOWS = {"1 hour": 1 / 24, "1 day": 1.0, "7 days": 7.0, "32 days": 32.0}
#: Of `METERLINE_DEDUP_WINDOW`; one of those that are compared.
DEFAULT_WINDOW = "32 days"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024


@dataclass(frozen=True)
class Measured:
    """A run of `make bench`, and what an event cost in it."""

    run: Mapping[str, str]
    costs: Costs


def render(measured: Measured, given: Assumptions) -> str:
    """All tables."""
    costs = measured.costs
    sizings = [size(costs, given, rate=rate) for rate in RATES]
    parts = [
        _run(measured), _costs(costs), _assumptions(given), _units(costs, given),
        _sizes(sizings, given), _storage(sizings), _windows(costs, given), _limits(sizings),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


def bytes_text(size_bytes: float) -> str:
    """Three significant digits and a unit of 1024."""
    power = 0
    while size_bytes >= _STEP and power < len(_UNITS) - 1:
        size_bytes /= _STEP
        power += 1
    return f"{number_text(float(size_bytes))} {_UNITS[power]}"


def _run(measured: Measured) -> Iterator[str]:
    yield from _table(("measured by", ""), ((name, text) for name, text in measured.run.items()))


def _costs(costs: Costs) -> Iterator[str]:
    us, size_ = "us of CPU", "bytes"
    rows = (
        ("worker", costs.worker_us, us),
        ("worker: threads that share the interpreter's lock", costs.worker_locked_us, us),
        ("Redis", costs.redis_us, us),
        ("ClickHouse while events come", costs.clickhouse_us, us),
        ("ClickHouse: merging all to one part a month", costs.clickhouse_merges_us, us),
        ("Kafka: read once", costs.kafka_read_us, us),
        ("Kafka: written once", costs.kafka_write_us, us),
        ("Redis", costs.redis_bytes, size_),
        ("message as produced", costs.message_bytes, size_),
        ("Kafka's log, compressed by the producer", costs.kafka_bytes, size_),
        ("`usage_events` on disk", costs.raw_bytes, size_),
        ("`usage_totals` on disk", costs.totals_bytes, size_),
    )
    heads = (f"cost of an event (section {costs.section})", "", "")
    yield from _table(heads, ((name, number_text(value), unit) for name, value, unit in rows))
    yield ""
    yield f"A worker took up to {bytes_text(costs.worker_memory_bytes)}."


def _assumptions(given: Assumptions) -> Iterator[str]:
    machine = (
        f"{given.machine_cores} cores, {bytes_text(given.machine_memory_bytes)},"
        f" {8 * given.machine_network_bytes / 1e9:.0f} Gbit/s"
    )
    yield from _table(
        ("assumed, not measured", ""),
        (
            ("a thread or core is used up to", f"{100 * given.utilisation:.0f} %"),
            ("dedup window", f"{_days(given.window_days)}, kept {GENERATIONS} times"),
            ("copies in Kafka, Redis, ClickHouse",
             f"{given.kafka_replicas}, {given.redis_replicas}, {given.clickhouse_replicas}"),
            ("Kafka keeps", _days(given.kafka_retention_days)),
            ("a machine", machine),
            ("data of a Redis process", f"at most {bytes_text(given.redis_process_bytes)}"),
            ("inserts into a table of a shard",
             f"at most {number_text(given.inserts_per_second_max)} a second"),
            ("partitions", f"{given.partitions_per_worker} for each worker"),
            ("a replica", "costs as much CPU as the first copy"),
            ("a core", "is as fast as one of the machine that was measured"),
        ),
    )  # fmt: skip


def _units(costs: Costs, given: Assumptions) -> Iterator[str]:
    one = {need.part: given_rate / need.exact for given_rate in RATES[:1]
           for need in size(costs, given, rate=given_rate).needs}  # fmt: skip
    yield from _table(
        ("one of each carries", "events/s", "grows by"),
        (
            ("worker, partition, customer", _rate(worker_limit(costs, given)),
             "more partitions and workers; one customer stays on one partition"),
            ("Redis master", _rate(one["Redis masters"]),
             f"more masters, or a window shorter than {_days(given.window_days)}"),
            ("ClickHouse shard", _rate(one["ClickHouse shards"]),
             "deployments side by side, each with a part of the customers"),
            ("Kafka broker", _rate(one["Kafka brokers"]), "more brokers, partitions moved to them"),
        ),
    )  # fmt: skip


def _sizes(sizings: Sequence[Sizing], given: Assumptions) -> Iterator[str]:
    yield (
        f"For a dedup window of {_days(given.window_days)}. The default of `METERLINE_DEDUP_WINDOW`"
        f" is {DEFAULT_WINDOW}: what the dedup memory takes with it is in the table of windows."
    )
    yield ""
    heads = ("events/s", "workers", "partitions", "Redis masters x copies",
             "ClickHouse shards x copies", "Kafka brokers", "cores used", "machines",
             "first bottleneck")  # fmt: skip
    yield from _table(
        heads,
        (
            (
                _rate(each.rate),
                f"{each.need('workers').units:,}",
                f"{each.partitions:,}",
                _units_of(each, "Redis masters"),
                _units_of(each, "ClickHouse shards"),
                f"{each.need('Kafka brokers').units:,}",
                f"{each.cores:,.1f}",
                " + ".join(f"{need.machines:,}" for need in each.needs) + f" = {each.machines:,}",
                each.first_bottleneck,
            )
            for each in sizings
        ),
    )
    yield ""
    yield "Machines: for workers + Redis + ClickHouse + Kafka."


def _storage(sizings: Sequence[Sizing]) -> Iterator[str]:
    heads = ("events/s", "memory of workers", "dedup memory, one copy", "Kafka a day",
             "Kafka kept", "`usage_events` a day", "`usage_totals` a day, at most")  # fmt: skip
    yield from _table(
        heads,
        (
            (
                _rate(each.rate),
                bytes_text(each.need("workers").memory_bytes),
                bytes_text(each.dedup_bytes),
                bytes_text(each.kafka_day_bytes),
                bytes_text(each.kafka_bytes),
                bytes_text(each.raw_day_bytes),
                bytes_text(each.totals_day_bytes),
            )
            for each in sizings
        ),
    )


def _windows(costs: Costs, given: Assumptions) -> Iterator[str]:
    heads = ("dedup window: memory, masters", *(f"{_rate(rate)} events/s" for rate in RATES))
    rows = []
    for name, days in WINDOWS.items():
        at = replace(given, window_days=days)
        cells = []
        for rate in RATES:
            found = size(costs, at, rate=rate)
            masters = found.need("Redis masters").units
            cells.append(f"{bytes_text(found.dedup_bytes)}, {masters:,}")
        rows.append((name, *cells))
    yield from _table(heads, rows)


def _limits(sizings: Sequence[Sizing]) -> Iterator[str]:
    heads = ("events/s", "flushes gather", "limit", "asked", "at most", "past it")
    rows = []
    for each in sizings:
        for limit in each.limits:
            wait = f"{each.flush_wait_s:.1f} s"
            asked, most = number_text(float(limit.asked)), number_text(float(limit.most))
            advice = limit.instead if limit.is_passed else ""
            rows.append((_rate(each.rate), wait, limit.what, asked, most, advice))
    yield from _table(heads, rows)


def _units_of(sizing: Sizing, part: str) -> str:
    need = sizing.need(part)
    return f"{need.units:,} x {need.copies}"


def _days(days: float) -> str:
    if days < 1:
        return f"{days * DAY_S / 3600:g} hours"
    return f"{days:g} day" + ("" if days == 1 else "s")


def _rate(rate: float) -> str:
    return f"{rate:,.0f}"


def _table(
    heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]
) -> Iterator[str]:
    """Markdown; the first column stands left."""
    yield "| " + " | ".join(heads) + " |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
