"""`python -m loadtest scale`: the same load read by more and more workers."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.deployment import Deployment, new_namespace
from loadtest.exits import FAILED, made_folder, reporting
from loadtest.load.profiles import PROFILES
from loadtest.machine import describe_machine
from loadtest.own_servers import own_servers
from loadtest.scaling.report import Scaled, differences_of
from loadtest.scaling.rows import Row, measure_row

_SEED = 20_264
#: Those that customers alone make what they are: a topic that is full has no rate, and its events
#: are sound.
_PROFILES = ("steady", "many-small-customers", "one-giant-customer")


def _known_profile(name: str) -> str:
    """Raises `BadParameter` with the names that there are."""
    if name not in _PROFILES:
        msg = f"expected one of {', '.join(_PROFILES)}, got {name}"
        raise typer.BadParameter(msg)
    return name


Counts = Annotated[str, typer.Option(help="How many workers, row by row: numbers with commas.")]
Profile = Annotated[
    str, typer.Option(callback=_known_profile, help=f"Whose events: {', '.join(_PROFILES)}.")
]
Partitions = Annotated[int, typer.Option(help="Of the topic.", min=1)]
Events = Annotated[int, typer.Option(help="In the topic, for each row.", min=100)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same load.", min=0)]
Out = Annotated[Path | None, typer.Option(help="Folder of the report and the logs.")]


def scale(
    *,
    profile: Profile = "steady",
    workers: Counts = "1,2,4,8",
    partitions: Partitions = 32,
    events: Events = 4_000_000,
    seed: Seed = _SEED,
    out: Out = None,
) -> None:
    """Have a full topic read by each number of workers, with rebalances, and compare every total.

    Workers start one after the other while events are read; midway one is stopped and one killed,
    and each replaced. Each row has a local stack of its own, which is removed at the end, or a
    namespace of its own on the servers of KAFKA_BOOTSTRAP_SERVERS, REDIS_URL and CLICKHOUSE_URL
    where all three are set; CPU time of those is not known.

    Exit codes: 0 every number is right; 1 one is not, or a row could not be finished; 2 bad
    arguments; 75 a server does not answer.

    Example: python -m loadtest scale --profile one-giant-customer --workers 1,2 --partitions 8
    """
    counts = _counts(workers, partitions=partitions)
    started_at = datetime.now(UTC)
    folder = made_folder(out or Path(".meterline/scale") / f"{started_at:%Y%m%dT%H%M%S}")
    console = Console()
    _say(console, f"{profile}, seed {seed}; logs in {folder}")
    rows: list[Row] = []
    scaled = Scaled(
        started_at=started_at, command=shlex.join(["python", "-m", "loadtest", *sys.argv[1:]]),
        profile=PROFILES[profile], seed=seed, cores=len(os.sched_getaffinity(0)), machine={},
        rows=rows,
    )  # fmt: skip
    with reporting(console, "SCALE", folder=folder):
        try:
            for count in counts:
                with own_servers(folder / f"stack-{count}", events=events) as servers:
                    scaled.machine.update(describe_machine(servers.addresses, folder))
                    where = folder / f"workers-{count}"
                    deployment = Deployment(
                        new_namespace("scale"), servers.addresses, where, partitions, events
                    )  # fmt: skip
                    rows.append(
                        measure_row(
                            deployment, servers, profile=scaled.profile, workers=count,
                            events=events, seed=seed,
                        )
                    )  # fmt: skip
                _tell(console, rows[-1])
        finally:
            for path in scaled.save(folder):
                _say(console, f"written: {path}")
    for line in scaled.tables():
        _say(console, line)
    _say(console, _last_line(scaled))
    if not scaled.is_right:
        raise typer.Exit(FAILED)


def _counts(text: str, *, partitions: int) -> list[int]:
    """Raises `BadParameter` unless they are numbers of workers that find something to do."""
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1 or max(found) > partitions or len(set(found)) < len(found):
        msg = f"expected different numbers from 1 to {partitions} (--partitions), got {text}"
        raise typer.BadParameter(msg, param_hint="--workers")
    return found


def _tell(console: Console, row: Row) -> None:
    verdict = f"{len(row.differences)} numbers differ" if row.differences else "exact"
    _say(
        console,
        f"{row.workers} workers: {row.events:,} events in {row.whole.seconds:.0f} s,"
        f" {row.whole.speed:,.0f}/s, {verdict}",
    )
    for difference in differences_of(row):
        _say(console, f"    {difference}")


def _last_line(scaled: Scaled) -> str:
    rows = scaled.rows
    wrong = sum(bool(row.differences) for row in rows)
    return (
        f"{'SCALE OK' if scaled.is_right else 'SCALE FAILED'} rows={len(rows)} wrong={wrong}"
        f" events={sum(row.events for row in rows)} seed={scaled.seed}"
    )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
