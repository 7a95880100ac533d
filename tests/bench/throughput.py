"""One worker, a topic loaded beforehand, an empty deployment: until all of it is durable."""

from __future__ import annotations

from bench import Bench, Load
from drain import add_figures, drain
from exactness import check_exact

from loadtest.figures import Section
from loadtest.processes import read_cpu
from sinks.dedup_adopt import layout_of
from sinks.dedup_form import ClaimForm
from sinks.dedup_status import dedup_status


def measure_throughput(bench: Bench, section: Section) -> None:
    """Speed, CPU, memory, shares of time, bytes in Redis and on disk; then exactness."""
    load = bench.main_load()
    deployment = load.deployment
    section.commands.append(load.command)
    section.add("events", load.events, "events", f"{load.message_bytes:.0f} bytes each")
    section.add("preload", load.events / load.produced_s, "events/s", "produced beforehand")
    section.add("message_bytes", load.message_bytes, "bytes")
    _add_kafka(bench, section, load)
    before = _redis_bytes(load)
    drained = drain(bench, load, "throughput")
    add_figures(section, drained, load.events)
    _add_redis(section, load, _redis_bytes(load) - before)
    merged_s = deployment.merge_all()
    merged = read_cpu(bench.pids).since(drained.last.cpu).processes.get("clickhouse", 0.0)
    section.add(
        "cpu_clickhouse_merges_after", merged / load.events * 1e6, "us/event",
        f"until each month was one part, which took {merged_s:.0f} s; background merges among it",
    )  # fmt: skip
    _add_disk(section, load)
    check_exact(bench, deployment, load.truth, section)


def _redis_bytes(load: Load) -> int:
    with load.deployment.store() as store:
        store.execute_command("MEMORY PURGE")
        info: dict[str, int] = store.info("memory")
    return int(info["used_memory"])


def _add_kafka(bench: Bench, section: Section, load: Load) -> None:
    """What it took to fill the topic, and what that takes on disk; of servers of our own."""
    if load.filling_cpu_s is not None:
        section.add(
            "cpu_kafka_filling", load.filling_cpu_s / load.events * 1e6, "us/event",
            "of the broker, while the topic was filled",
        )  # fmt: skip
    logs = bench.folder.glob(f"stack/kafka/data/{load.deployment.settings.events_topic}-*/*.log")
    if size := sum(path.stat().st_size for path in logs):
        section.add("kafka_bytes_per_event", size / load.events, "bytes", "in the log, LZ4")


def _add_redis(section: Section, load: Load, used: int) -> None:
    events_max = int(load.deployment.tuning["METERLINE_DEDUP_EVENTS_MAX"])
    settings = load.deployment.settings.model_copy(update={"dedup_events_max": events_max})
    with load.deployment.connect() as client:
        status = dedup_status(settings, client)
    entries = sum(generation.entries for generation in status.generations)
    layout, sample = layout_of(settings), status.sample
    shape = f"{layout.shards} shards x {layout.buckets:,} buckets for {events_max:,} events"
    if status.form is ClaimForm.HASHES:
        shape += (
            f"; of {sample.buckets} looked at {sample.listpacks} are packed, which Redis does up "
            f"to {status.listpack_limit}"
        )
    section.add(
        "redis_bytes_per_event", used / max(entries, 1), "bytes",
        f"growth of used_memory over {entries:,} entries",
    )  # fmt: skip
    section.add(
        "redis_bytes_per_entry", sample.bytes_per_entry, "bytes",
        f"of the {status.form.name.lower()} themselves",
    )  # fmt: skip
    section.add("redis_bucket_entries_max", sample.entries_max, "entries", shape)


def _add_disk(section: Section, load: Load) -> None:
    with load.deployment.connect() as client:
        rows = client.query(
            "SELECT table, sum(bytes_on_disk), sum(rows), count() FROM system.parts"
            " WHERE active AND database = currentDatabase()"
            " AND table IN ('usage_events', 'usage_totals') GROUP BY table ORDER BY table"
        ).result_rows
    for table, size, count, parts in rows:
        section.add(
            f"disk_{table}", size / load.events, "bytes/event", f"{count:,} rows in {parts} parts"
        )
