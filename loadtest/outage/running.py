"""One outage from start to end: its backlog, live traffic, workers that catch up, the oracle."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console

from loadtest.deployment import Deployment, Filled, reckoning_s
from loadtest.load.killing import Watchable, killed
from loadtest.load.live_view import live_view
from loadtest.load.making import Load
from loadtest.load.profiles import PROFILES
from loadtest.load.report import Report
from loadtest.load.schedule import Schedule
from loadtest.load.sending import Job, start_sender, stop_signal
from loadtest.load.tables import LoadTables
from loadtest.load.telling import save_report, show_report
from loadtest.load.watching import Watch, Watched
from loadtest.machine import describe_machine
from loadtest.oracle import Difference, settle
from loadtest.outage.catch_up import CatchUp
from loadtest.outage.figures import Recovery, recovery_figures
from loadtest.outcome import Outcome
from loadtest.own_servers import Servers
from loadtest.topics import workers_group
from loadtest.workers import Workers, await_assignment

PROFILE = PROFILES["steady"]
_CUSTOMERS = 20_000
_SETTLED_S = 20.0
_STUCK_S = 90.0


@dataclass(frozen=True)
class Outage:
    """What to run: rates in events a second, times in seconds.

    With `kill_every_s` a worker is killed so often, and replaced, until the backlog is durable.
    """

    rate: int
    seconds: int
    live_rate: int
    workers: int
    patience_s: int
    seed: int
    command: str
    prefix: str
    kill_every_s: float | None = None

    @property
    def backlog(self) -> int:
        """Events that waited."""
        return self.rate * self.seconds

    @property
    def events(self) -> int:
        """All there may be, where catching up takes as long as the outage."""
        return self.backlog + self.live_rate * self.seconds


def run_outage(
    outage: Outage, deployment: Deployment, *, servers: Servers, out: Console
) -> bool:  # fmt: skip
    """All of it; prints and writes the result, and says whether all is right.

    Raises `LoadFailed` and `CommandFailed` when it cannot be run to its end, `NotDelivered`, and
    what the clients of Kafka and ClickHouse raise when a server does not answer.
    """
    started_at = datetime.now(UTC)
    deployment.create()
    filled = deployment.fill(outage.backlog, customers=_CUSTOMERS, seed=outage.seed)
    recovery = _recover(outage, deployment, servers=servers, filled=filled, out=out)
    done = recovery.watched.done
    assert done is not None
    expected = together(filled.outcome, done.outcome)
    got, differences = deployment.reckon(expected)
    differences += _wrong_live(deployment, recovery.watched, events=expected.accounted)
    report = Report(
        started_at=started_at, command=outage.command, seed=outage.seed,
        title=f"Outage: {outage.seconds:,} s at {outage.rate:,} events/s,"
        f" then {outage.live_rate:,} events/s live",
        machine=describe_machine(deployment.addresses, deployment.folder),
        figures=recovery_figures(recovery), samples=recovery.watched.samples, disk={},
        differences=differences, faults=_faults(outage, recovery),
    )  # fmt: skip
    show_report(out, report, expected=expected, got=got, name="OUTAGE")
    save_report(out, report, folder=deployment.folder)
    return report.is_right


def together(backlog: Outcome, live: Outcome) -> Outcome:
    """The truth about both; they have no customer in common. How much is late is not known."""
    return Outcome(
        accepted=backlog.accepted + live.accepted,
        duplicates=backlog.duplicates + live.duplicates,
        rejected=live.rejected,
        totals=backlog.totals | live.totals,
    )


def _recover(
    outage: Outage, deployment: Deployment, *, servers: Servers, filled: Filled, out: Console
) -> Recovery:
    """Live traffic begins, the workers are started, and all of it is watched until it is durable.

    Live traffic ends when the lag has been back to normal for a while, or patience is over.
    """
    schedule = Schedule(outage.live_rate, outage.patience_s)
    load = Load(
        PROFILE, schedule, outage.seed, deployment.partitions, prefix=outage.prefix, began_s=0
    )  # fmt: skip
    stop = stop_signal()
    catch_up = CatchUp(outage.live_rate, patience_s=outage.patience_s, stop=stop.set)
    tables = LoadTables(deployment.clickhouse_url, deployment.database, topic=deployment.topic)
    process, pipe = start_sender(Job(load, deployment.bootstrap_servers, deployment.topic), stop)
    title = f"{outage.backlog:,} events wait, {outage.live_rate:,} events/s more"
    try:
        with (
            Workers(deployment.meterline, deployment.catalog) as workers,
            live_view(out, title) as show,
        ):
            back_s = time.monotonic()
            for _ in range(outage.workers):
                workers.start()
            with _hurt(outage, workers, deployment=deployment) as hurt:
                watched = Watch(
                    tables, {**hurt.pids, **servers.pids}, _STUCK_S, on_sample=show,
                    check=hurt.check, on_watched=lambda seen: _tell(catch_up, seen, hurt=hurt),
                ).run(process, pipe)  # fmt: skip
            workers.stop()
    finally:
        process.kill()
        process.join()
        tables.close()
    return Recovery(
        filled.delivery, watched, catch_up, back_s - watched.started.began_s,
        hurt.figures(),
    )  # fmt: skip


@contextmanager
def _hurt(outage: Outage, workers: Workers, *, deployment: Deployment) -> Iterator[Watchable]:
    """In the end all partitions are held by workers that can be stopped in order."""
    if outage.kill_every_s is None:
        ours = {f"worker {number}": pid for number, pid in enumerate(workers.pids, start=1)}
        yield Watchable(ours, workers.check_alive)
        return
    with killed(
        workers, every_s=outage.kill_every_s, lasts_s=outage.patience_s, seed=outage.seed
    ) as killing:
        yield Watchable({}, killing.check, killing)
    killing.check()
    await_assignment(
        deployment.bootstrap_servers, workers_group(deployment.namespace), workers=workers,
        members=outage.workers, partitions=deployment.partitions,
    )  # fmt: skip


def _tell(catch_up: CatchUp, watched: Watched, *, hurt: Watchable) -> None:
    sample = watched.samples[-1]
    if sample.backlog == 0 and hurt.killing is not None:
        hurt.killing.relent()
    catch_up.hear(sample.at_s, sample.lag, counts=watched.latencies.counts)


def _wrong_live(deployment: Deployment, watched: Watched, *, events: int) -> list[Difference]:
    """Live traffic by itself, because of it is known how much is late."""
    assert watched.done is not None
    tables = LoadTables(
        deployment.clickhouse_url, deployment.database, topic=deployment.topic,
        patience_s=reckoning_s(events),
    )  # fmt: skip
    tables.scope(watched.started.ends, watched.started.load.prefix)
    found = settle(tables, watched.done.outcome, deadline_s=_SETTLED_S).differences
    tables.close()
    return [each._replace(what=f"live: {each.what}") for each in found]


def _faults(outage: Outage, recovery: Recovery) -> list[str]:
    if recovery.catch_up.caught is not None:
        return []
    fault = (
        f"not caught up: within {outage.patience_s:,} s the lag did not stay at or below"
        f" {recovery.catch_up.normal:,} events; raise --patience, or lower --live-rate"
    )
    return [fault]
