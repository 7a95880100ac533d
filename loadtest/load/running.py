"""One run from start to end: workers where they are ours, the load, the oracle, the report."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from loadtest.catalog import copy_meters
from loadtest.clickhouse import ClickHouse, database_of
from loadtest.dedup_room import planned_for
from loadtest.deployment import reckoning_s, unverified
from loadtest.load.event_rows import customer_name
from loadtest.load.growth import judge_growth
from loadtest.load.killing import Watchable, killed
from loadtest.load.live_view import live_view
from loadtest.load.making import Load
from loadtest.load.profiles import Profile
from loadtest.load.report import Report, figures_of
from loadtest.load.schedule import Schedule
from loadtest.load.sending import Job, start_sender
from loadtest.load.tables import LoadTables, expect_clickhouse
from loadtest.load.telling import save_report, show_report
from loadtest.load.watching import LoadFailed, Watch, Watched
from loadtest.machine import describe_machine
from loadtest.meterline import Meterline
from loadtest.oracle import Difference, compare_charges, settle
from loadtest.outcome import Outcome
from loadtest.prices import expected_charges, write_prices
from loadtest.topics import (
    create_events_topic,
    events_topic,
    group_members,
    partitions_of,
    workers_group,
)
from loadtest.workers import Workers, await_assignment

_SETTLED_S = 20.0
_STUCK_S = 90.0
#: How long ClickHouse may take for one answer while the load goes on.
_PATIENCE_S = 300


@dataclass(frozen=True)
class Run:
    """What to run: `workers` are started by us, 0 where others run them already.

    `prefix` begins the names of its customers, so that no other run has the same ones. In a soak
    what grows is wrong as well. With `kill_every_s` a worker is killed so often, and replaced.
    """

    profile: Profile
    schedule: Schedule
    seed: int
    workers: int
    partitions: int
    namespace: str
    addresses: Mapping[str, str]
    pids: Mapping[str, int]
    folder: Path
    command: str
    prefix: str
    is_rated: bool = False
    is_soak: bool = False
    kill_every_s: float | None = None

    @property
    def topic(self) -> str:
        """Where the load goes."""
        return events_topic(self.namespace)

    @property
    def customers(self) -> list[str]:
        """Names by index."""
        return [customer_name(self.prefix, index) for index in range(self.profile.customers)]

    @property
    def bootstrap_servers(self) -> str:
        """Of Kafka."""
        return self.addresses["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def meterline(self) -> Meterline:
        """The command under test, in this run's namespace."""
        return Meterline(
            self.folder,
            {
                **self.addresses,
                "METERLINE_NAMESPACE": self.namespace,
                "METERLINE_HTTP_PORT": "0",
                "METERLINE_CATALOG": str(self.folder / "catalog"),
                **planned_for(self.schedule.events),
            },
        )


def run_load(run: Run, out: Console) -> bool:
    """All of it; prints and writes the result, and says whether all is right.

    Raises `LoadFailed` and `CommandFailed` when it cannot be run to its end, and what the clients
    of Kafka and ClickHouse raise when a server does not answer.
    """
    started_at = datetime.now(UTC)
    with _workers(run, prices_change_at=_hour_of(started_at)) as watchable:
        partitions = partitions_of(run.bootstrap_servers, run.topic)
        load = Load(
            run.profile, run.schedule, run.seed, partitions, prefix=run.prefix, began_s=0
        )  # fmt: skip
        tables = _tables(run)
        before = tables.bytes_on_disk()
        watched = _watch(run, load, tables=tables, watchable=watchable, out=out)
    assert watched.done is not None
    expected = watched.done.outcome
    events = expected.accounted
    tables.close()
    tables = _tables(run, patience_s=reckoning_s(events))
    tables.scope(watched.started.ends, load.prefix)
    got, differences = settle(tables, expected, deadline_s=_SETTLED_S)
    if run.is_rated:
        differences += _wrong_charges(run, expected, changed_at=_hour_of(started_at))
    if run.workers:
        differences += unverified(run.meterline, events)
    disk = {
        table: (size - before.get(table, 0)) / events
        for table, size in sorted(tables.bytes_on_disk().items())
        if size > before.get(table, 0) and not table.startswith(".")
    }
    tables.close()
    report = Report(
        started_at=started_at, command=run.command, seed=run.seed,
        title=f"Load test: {run.profile.name}, {run.schedule.rate:,} events/s",
        machine=describe_machine(run.addresses, run.folder),
        figures=[*figures_of(watched, disk), *watchable.figures()],
        samples=watched.samples, disk=disk, differences=differences,
        growth=judge_growth(watched.samples, run.schedule) if run.is_soak else (),
    )  # fmt: skip
    show_report(out, report, expected=expected, got=got)
    save_report(out, report, folder=run.folder)
    return report.is_right


@contextmanager
def _workers(run: Run, *, prices_change_at: datetime) -> Iterator[Watchable]:
    """What to watch; workers of ours are stopped in order at the end, so that all is written."""
    expect_clickhouse(run.addresses["CLICKHOUSE_URL"])
    if not run.workers:
        _expect_deployment(run)
        yield Watchable(run.pids)
        return
    catalog = run.folder / "catalog"
    copy_meters(catalog)
    if run.is_rated:
        write_prices(catalog, run.customers, changed_at=prices_change_at)
    create_events_topic(run.bootstrap_servers, run.topic, run.partitions)
    run.meterline.run("migrate")
    with Workers(run.meterline, catalog) as workers:
        for _ in range(run.workers):
            workers.start()
        _await_workers(run, workers)
        if run.kill_every_s is None:
            ours = {f"worker {number}": pid for number, pid in enumerate(workers.pids, start=1)}
            yield Watchable({**ours, **run.pids}, workers.check_alive)
        else:
            with killed(
                workers, every_s=run.kill_every_s, lasts_s=run.schedule.seconds, seed=run.seed
            ) as killing:
                yield Watchable(run.pids, killing.check, killing)
            killing.check()
            _await_workers(run, workers)  # the last that were started can be stopped in order then
        workers.stop()


def _await_workers(run: Run, workers: Workers) -> None:
    """Wait until all hold all partitions."""
    await_assignment(
        run.bootstrap_servers, workers_group(run.namespace), workers=workers,
        members=run.workers, partitions=run.partitions,
    )  # fmt: skip


def _expect_deployment(run: Run) -> None:
    """Raises `LoadFailed` where there is no topic, or nobody reads it."""
    if not partitions_of(run.bootstrap_servers, run.topic):
        msg = (
            f"Kafka at {run.bootstrap_servers}: expected a topic {run.topic}, there is none: name"
            " the deployment with --namespace, create it with `meterline migrate`, or have"
            " --workers started here"
        )
        raise LoadFailed(msg)
    group = workers_group(run.namespace)
    if not group_members(run.bootstrap_servers, group)[0]:
        msg = (
            f"Kafka at {run.bootstrap_servers}: expected workers in the consumer group {group},"
            " there are none: start some with `meterline run`, or here with --workers"
        )
        raise LoadFailed(msg)


def _watch(
    run: Run, load: Load, *, tables: LoadTables, watchable: Watchable, out: Console
) -> Watched:
    process, pipe = start_sender(Job(load, run.bootstrap_servers, run.topic))
    title = f"{run.profile.name}, {run.schedule.rate:,} events/s for {run.schedule.seconds} s"
    try:
        with live_view(out, title, events=run.schedule.events) as show:
            watch = Watch(tables, watchable.pids, _STUCK_S, on_sample=show, check=watchable.check)
            return watch.run(process, pipe)
    finally:
        process.kill()
        process.join()


def _tables(run: Run, *, patience_s: int = _PATIENCE_S) -> LoadTables:
    database = database_of(run.namespace)
    return LoadTables(
        run.addresses["CLICKHOUSE_URL"], database, topic=run.topic, patience_s=patience_s
    )


def _hour_of(moment: datetime) -> datetime:
    """Its beginning: where the prices of one plan change, so that its period is split."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _wrong_charges(run: Run, expected: Outcome, *, changed_at: datetime) -> list[Difference]:
    """Every charge of the view that finance reads; the namespace holds this run alone."""
    clickhouse = ClickHouse(run.addresses["CLICKHOUSE_URL"], database_of(run.namespace))
    charges = expected_charges(expected.totals, run.customers, changed_at=changed_at)
    return compare_charges(charges, clickhouse.charges())
