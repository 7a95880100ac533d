"""`python -m loadtest outage`: workers come back to a backlog while live traffic goes on."""

import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.deployment import Deployment, new_namespace
from loadtest.exits import FAILED, made_folder, reporting
from loadtest.outage.running import Outage, run_outage
from loadtest.own_servers import own_servers

_SEED = 20_263

Rate = Annotated[int, typer.Option(help="Events a second that came in the outage.", min=1)]
Seconds = Annotated[int, typer.Option("--outage", help="How long it was, in seconds.", min=1)]
LiveRate = Annotated[
    int | None, typer.Option(help="Events a second meanwhile; default: --rate.", min=1)
]
WorkerCount = Annotated[int, typer.Option(help="Workers that come back.", min=1)]
Partitions = Annotated[int, typer.Option(help="Of the topic.", min=1)]
Patience = Annotated[int, typer.Option(help="Seconds after which catching up is given up.", min=30)]
KillEvery = Annotated[
    float | None,
    typer.Option(
        help="Kill one of the workers that often, in seconds, and start another instead, until the"
        " backlog is durable.",
        min=0.1,
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same load.", min=0)]
Out = Annotated[Path | None, typer.Option(help="Folder of the report and the logs.")]


def outage(
    *,
    rate: Rate = 10_000,
    seconds: Seconds = 60,
    live_rate: LiveRate = None,
    workers: WorkerCount = 1,
    partitions: Partitions = 8,
    patience: Patience = 3600,
    kill_every: KillEvery = None,
    seed: Seed = _SEED,
    out: Out = None,
) -> None:
    """Fill the backlog of an outage, start the workers under live traffic, time the catching up.

    The servers are a local stack of this command's own, which is removed at the end, or those of
    KAFKA_BOOTSTRAP_SERVERS, REDIS_URL and CLICKHOUSE_URL where all three are set.

    Exit codes: 0 every number is right, and the lag is back to normal; 1 one is not, it is not
    within --patience, or the run could not be finished; 2 bad arguments; 75 a server does not
    answer.

    Example: python -m loadtest outage --rate 50000 --outage 3600 --live-rate 50000
    """
    if workers > partitions:
        msg = f"expected at most one worker a partition, got {workers} for {partitions}"
        raise typer.BadParameter(msg, param_hint="--workers")
    folder = made_folder(out or Path(".meterline/outage") / f"{datetime.now(UTC):%Y%m%dT%H%M%S}")
    console = Console()
    asked = Outage(
        rate=rate, seconds=seconds, live_rate=live_rate or rate, workers=workers,
        patience_s=patience, seed=seed, prefix=f"lt{int(time.time()):010d}",
        command=shlex.join(["python", "-m", "loadtest", *sys.argv[1:]]), kill_every_s=kill_every,
    )  # fmt: skip
    with (
        reporting(console, "OUTAGE", folder=folder),
        own_servers(folder / "stack", events=asked.events) as servers,
    ):
        deployment = Deployment(
            new_namespace("outage"), servers.addresses, folder, partitions, asked.events
        )
        is_right = run_outage(asked, deployment, servers=servers, out=console)
    if not is_right:
        raise typer.Exit(FAILED)
