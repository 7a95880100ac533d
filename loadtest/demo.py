"""`make demo`: a seeded load against real servers and real workers, checked to the last number.

A worker is killed without warning in the middle of it and another one started; then everything in
ClickHouse must equal what the generator wrote down.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import orjson
import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from rich.console import Console

from loadtest.catalog import write_catalog
from loadtest.clickhouse import ClickHouse, database_of
from loadtest.closing import MonthEnd
from loadtest.last_month import LastMonth, month_before
from loadtest.local_close import LocalClose
from loadtest.local_month import LocalMonth, local_month, write_local_plan
from loadtest.meterline import CommandFailed, Meterline
from loadtest.oracle import (
    Difference,
    await_accounted,
    compare_charges,
    differences_table,
    settle,
)
from loadtest.plan import Message, Plan
from loadtest.population import Population
from loadtest.prices import Charge, ChargeKey, expected_charges, write_prices
from loadtest.produce import NotDelivered, produce
from loadtest.servers import servers
from loadtest.spike import anomalies, spike_differences, write_history
from loadtest.summary import bars, charges_table, dearest_by_meter, summary_line, summary_table
from loadtest.topics import create_events_topic, events_topic
from loadtest.workers import Workers, await_assignment
from loadtest.workload import Workload

DEFAULT_SEED = 20_261
_WORKERS = 2
_ACCOUNTED_S = 300.0
_SETTLED_S = 20.0
#: Exit code of a check that has open findings.
_OPEN = 1
#: Of the month that is invoiced: customers with usage, events before the invoices, and after.
_MONTH_CUSTOMERS, _MONTH_EVENTS, _LATE_EVENTS = 150, 3_000, 150

_out = Console()
_progress = Console(stderr=True)


@dataclass(frozen=True)
class Demo:
    """One run: its namespace, a folder for its catalog and logs, and the servers."""

    seed: int
    plan: Plan
    namespace: str
    folder: Path
    addresses: Mapping[str, str]

    @property
    def meterline(self) -> Meterline:
        """The command under test, in this run's namespace."""
        settings = {
            **self.addresses,
            "METERLINE_NAMESPACE": self.namespace,
            "METERLINE_HTTP_PORT": "0",
            "METERLINE_CATALOG": str(self.catalog),
        }
        return Meterline(self.folder, settings)

    @property
    def clickhouse(self) -> ClickHouse:
        """What the pipeline says."""
        return ClickHouse(self.addresses["CLICKHOUSE_URL"], database_of(self.namespace))

    @property
    def catalog(self) -> Path:
        """The folder that the workers read meters and rules from."""
        return self.folder / "catalog"


def demo(
    *,
    events: Annotated[int, typer.Option(help="How many events.", min=1)] = 200_000,
    customers: Annotated[int, typer.Option(help="Of how many customers.", min=1)] = 2_000,
    partitions: Annotated[int, typer.Option(help="Partitions of the topic.", min=1)] = 6,
    rate: Annotated[int, typer.Option(help="Events per second.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same load.")] = DEFAULT_SEED,
    keep: Annotated[bool, typer.Option(help="Leave a local stack running.")] = False,
) -> None:
    """Stream a seeded load through two workers, kill one, and compare every total.

    Servers are those of KAFKA_BOOTSTRAP_SERVERS, REDIS_URL and CLICKHOUSE_URL, else a local stack
    that is stopped at the end. Catalog, logs and the truth stay under .meterline/demo/.

    Exit codes: 0 every number is right; 1 one is not, or the pipeline failed.

    Example: python -m loadtest demo --seed 7
    """
    plan = Plan(events=events, customers=customers, partitions=partitions, events_per_second=rate)
    namespace = f"demo_{seed}_{int(time.time())}"
    folder = Path(".meterline/demo") / namespace
    folder.mkdir(parents=True)
    try:
        with servers(folder, keep=keep) as addresses:
            is_right = run(Demo(seed, plan, namespace, folder.resolve(), addresses))
    except (CommandFailed, NotDelivered, KafkaException, ClickHouseError) as error:
        _say(f"DEMO FAILED seed={seed}: {error}")
        raise typer.Exit(1) from None
    if not is_right:
        raise typer.Exit(1)


def run(demo: Demo) -> bool:
    """All of it; prints the result and says whether every number is right.

    Raises `CommandFailed` when the pipeline fails, and `NotDelivered` when Kafka does.
    """
    _say(f"seed {demo.seed}, namespace {demo.namespace}, files in {demo.folder}")
    bootstrap_servers = demo.addresses["KAFKA_BOOTSTRAP_SERVERS"]
    create_events_topic(bootstrap_servers, events_topic(demo.namespace), demo.plan.partitions)
    demo.meterline.run("migrate")
    population, now = Population(demo.plan.customers), datetime.now(UTC)
    changed_at = now.replace(minute=0, second=0, microsecond=0)
    write_catalog(demo.catalog, population, now)
    write_prices(demo.catalog, population.names, changed_at=changed_at)
    hard_month = local_month(now - timedelta(days=1))
    write_local_plan(demo.catalog, hard_month)
    with Workers(demo.meterline, demo.catalog) as workers:
        for _ in range(_WORKERS):
            workers.start()
        # So that the crash meets work in flight.
        await_assignment(
            bootstrap_servers, f"{demo.namespace}.meterline", workers=workers, members=_WORKERS,
            partitions=demo.plan.partitions,
        )  # fmt: skip
        started = time.monotonic()
        workload = Workload(demo.seed, demo.plan, datetime.now(UTC))
        _stream(demo, workload, workers)
        accounted_s = _await_workers(demo, workers, started)
        workers.stop()
    expected = workload.truth.outcome()
    expected.save(demo.folder / "truth.json")
    got, differences = settle(demo.clickhouse, expected, deadline_s=_SETTLED_S)
    charges = expected_charges(expected.totals, population.names, changed_at=changed_at)
    differences += compare_charges(charges, demo.clickhouse.charges())
    rate = expected.accounted / accounted_s
    title = f"{expected.accounted:,} events in {accounted_s:.1f} s ({rate:,.0f}/s)"
    _out.print(summary_table(expected, got, title))
    if differences:
        _out.print(differences_table(differences))
        _say(f"DEMO FAILED seed={demo.seed} differences={len(differences)}")
        return False
    demo.meterline.run("verify")
    for month in sorted({_month(key) for key in charges}):
        _say(demo.meterline.run("charges", "--period", month).strip())
    _show_charges(demo, charges)
    earliest = min(key.window_start for key in expected.totals)
    differences = _spike(demo)
    differences += _month_end(
        demo, population, changed_at=changed_at, earliest=earliest, hard_month=hard_month
    )  # fmt: skip
    if differences:
        _out.print(differences_table(differences))
        _say(f"DEMO FAILED seed={demo.seed} differences={len(differences)}")
        return False
    demo.meterline.run("verify")
    _say(summary_line("DEMO OK", expected, time.monotonic() - started))
    return True


def _show_charges(demo: Demo, charges: Mapping[ChargeKey, Charge]) -> None:
    """The dearest charge of each meter with what was included, and one of them explained."""
    _out.print(charges_table(dearest_by_meter(charges), len(charges)))
    key = max(charges, key=lambda key: (charges[key].included, charges[key].charge))
    group = [f"{name}={value}" for name, value in orjson.loads(key.group).items()]
    asked = [
        "explain", "--customer", key.customer_id, "--meter", key.meter,
        *(word for text in group for word in ("--group", text)),
        "--period", _month(key), "--events", "3",
    ]  # fmt: skip
    _say(f"$ meterline {' '.join(asked)}")
    _say(demo.meterline.run(*asked))


def _spike(demo: Demo) -> list[Difference]:
    """Weeks of usage with one spike, counted from a file, and what the detector says."""
    history = demo.folder / "history.ndjson"
    events = write_history(history, until=demo.clickhouse.complete_to(), seed=demo.seed)
    demo.meterline.run("backfill", str(history))
    found = anomalies(
        orjson.loads(demo.meterline.run("alerts", "check", "--json", expected=(0, _OPEN)))
    )
    _say(f"{events:,} events of ten weeks, one spike in them; the detector found:")
    for each in found:
        _say(f"  {each['kind']}: {each['sentence']}")
    return spike_differences(found)


def _month_end(
    demo: Demo,
    population: Population,
    *,
    changed_at: datetime,
    earliest: int,
    hard_month: LocalMonth,
) -> list[Difference]:
    """Invoice, adjust and reconcile a month that ended before the load's `earliest` window.

    First `hard_month`, of customers of its own; its lines are derived again at the end.
    """
    month = month_before(datetime.fromtimestamp(earliest, UTC))
    load = LastMonth(
        demo.seed, population, month=month, partitions=demo.plan.partitions,
        customers=_MONTH_CUSTOMERS,
    )  # fmt: skip
    act = MonthEnd(
        demo.meterline, demo.clickhouse, demo.addresses["KAFKA_BOOTSTRAP_SERVERS"],
        events_topic(demo.namespace), population.names, changed_at, load, _say,
    )  # fmt: skip
    hard = LocalClose(
        demo.meterline, demo.clickhouse, demo.addresses["KAFKA_BOOTSTRAP_SERVERS"],
        events_topic(demo.namespace), demo.plan.partitions, hard_month, _say,
    )  # fmt: skip
    with Workers(demo.meterline, demo.catalog) as workers:
        workers.start()
        differences = hard.run()
        differences += act.run(
            events=_MONTH_EVENTS, late=_LATE_EVENTS, folder=demo.folder, seed=demo.seed
        )
        workers.stop()
    # with the events of all months that were metered since
    _say(demo.meterline.run("invoices", "verify").strip())
    return differences


def _month(key: ChargeKey) -> str:
    return f"{datetime.fromtimestamp(key.period_start, UTC):%Y-%m}"


def _stream(demo: Demo, workload: Workload, workers: Workers) -> None:
    """Produce at the plan's pace; in the middle, one worker dies and another one starts."""
    with bars(_progress) as progress:
        task = progress.add_task("produced", total=demo.plan.events)
        delivery = produce(
            _with_a_crash(demo, workload, workers),
            bootstrap_servers=demo.addresses["KAFKA_BOOTSTRAP_SERVERS"],
            topic=events_topic(demo.namespace),
            on_events=lambda events: progress.update(task, completed=events),
        )
    _say(
        f"produced {delivery.events:,} events in {delivery.messages:,} messages,"
        f" {delivery.bytes / 1e6:.1f} MB in {delivery.seconds:.1f} s"
    )


def _with_a_crash(demo: Demo, workload: Workload, workers: Workers) -> Iterator[Message]:
    is_due = True
    for message in workload:
        yield message
        if is_due and workload.truth.accounted >= demo.plan.events // 2:
            is_due = False
            workers.check_alive()
            accounted = demo.clickhouse.accounted()
            killed = workers.kill(0)
            _say(
                f"killed worker {killed} with SIGKILL after {accounted:,} events were accounted"
                f" for; worker {workers.start()} takes over"
            )


def _await_workers(demo: Demo, workers: Workers, started: float) -> float:
    """Wait until every event ended somewhere; returns the seconds since the workers started."""
    with bars(_progress) as progress:
        task = progress.add_task("accounted", total=demo.plan.events)

        def show(accounted: int) -> None:
            progress.update(task, completed=accounted)
            workers.check_alive()

        accounted = await_accounted(
            demo.clickhouse, demo.plan.events, deadline_s=_ACCOUNTED_S, on_accounted=show
        )
    if accounted < demo.plan.events:
        _say(f"only {accounted:,} of {demo.plan.events:,} events after {_ACCOUNTED_S:.0f} s")
    return time.monotonic() - started


def _say(text: str) -> None:
    """One line on stdout, as it is, however narrow the terminal."""
    _out.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(demo)
