"""One row: a topic that is full, and so many workers that read it while members come and go."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from loadtest.deployment import Deployment
from loadtest.load.profiles import Profile
from loadtest.load.tables import LoadTables
from loadtest.oracle import Difference
from loadtest.own_servers import Servers
from loadtest.scaling.members import Members
from loadtest.scaling.stretch import Look, Stretch, stretch
from loadtest.summary import bars
from loadtest.topics import log_ends
from loadtest.workers import Workers


@dataclass(frozen=True)
class Row:
    """What so many workers came to; `fullest` is the share (0..1) of the fullest partition.

    `whole` is from the first worker's assignment to the last event; `steady` the part of it in
    which all of them held their partitions, None where everything was durable before. `took_s` is
    how long it was until all partitions were held again, by what happened; `idle` names what was
    over only when nothing was left to read.
    """

    workers: int
    events: int
    fullest: float
    filled_per_s: float
    whole: Stretch
    steady: Stretch | None
    took_s: dict[str, float]
    idle: Sequence[str]
    differences: Sequence[Difference]


@dataclass(frozen=True)
class _Looks:
    """`first` is before the first event, `joined` and `midway` are the ends of the quiet part."""

    first: Look
    joined: Look
    midway: Look
    last: Look


def measure_row(
    deployment: Deployment, servers: Servers, *, profile: Profile, workers: int, events: int,
    seed: int,
) -> Row:  # fmt: skip
    """Fill a fresh deployment, have it read, and compare every number.

    Of the profile counts who uses: all events are sound, and there before anybody reads. Raises
    `CommandFailed`, `NotDelivered`, and what the clients of the servers raise.
    """
    deployment.create()
    filled = deployment.fill(
        events, customers=profile.customers, giant=profile.giant, seed=seed
    )  # fmt: skip
    produced = filled.delivery.events
    lengths = log_ends(deployment.bootstrap_servers, deployment.topic).values()
    tables = LoadTables(deployment.clickhouse_url, deployment.database, topic=deployment.topic)
    took_s: dict[str, float] = {}
    with Workers(deployment.meterline, deployment.catalog) as running:
        with bars(Console(stderr=True)) as progress:
            task = progress.add_task("durable", total=produced)
            members = Members(
                deployment, running, tables, servers.pids,
                on_durable=lambda durable: progress.update(task, completed=durable),
            )  # fmt: skip
            looks, idle = _drive(members, workers=workers, produced=produced, took_s=took_s)
        running.stop()
    tables.close()
    is_steady = looks.joined.durable < looks.midway.durable < produced
    return Row(
        workers=workers,
        events=produced,
        fullest=max(lengths) / sum(lengths),
        filled_per_s=produced / filled.delivery.seconds,
        whole=stretch(looks.first, looks.last, servers=servers.pids),
        steady=stretch(looks.joined, looks.midway, servers=servers.pids) if is_steady else None,
        took_s=took_s,
        idle=idle,
        differences=deployment.reckon(filled.outcome).differences,
    )


def _drive(
    members: Members, *, workers: int, produced: int, took_s: dict[str, float]
) -> tuple[_Looks, list[str]]:
    """Members come, one is stopped and one killed; what was seen, and what happened too late."""
    idle: list[str] = []

    @contextmanager
    def noted(name: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        took_s[name] = time.monotonic() - began_s
        if members.look().durable >= produced:
            idle.append(name)

    members.start()
    first = members.await_shared(1)
    for number in range(2, workers + 1):
        with noted(f"start {number}"):
            members.start()
            members.await_shared(number)
    joined = members.await_durable(min(members.look().durable + 1, produced))
    midway = members.await_durable((joined.durable + produced) // 2)
    for name, leave in (("stop", members.stop_one), ("kill", members.kill_one)):
        with noted(name):
            known = members.ids()
            leave()
            members.start()
            members.await_shared(workers, without=known)
    return _Looks(first, joined, midway, members.await_durable(produced)), idle
