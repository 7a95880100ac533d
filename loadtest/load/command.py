"""`python -m loadtest run`: one workload profile at one rate, checked to the last number."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.dedup_room import make_room
from loadtest.exits import FAILED, made_folder, reporting
from loadtest.load.growth import SOAK_S_MIN
from loadtest.load.profiles import PROFILES
from loadtest.load.running import Run, run_load
from loadtest.load.schedule import Schedule
from loadtest.redis_server import expect_redis
from loadtest.servers import ADDRESSES, given_addresses, server_pids, servers

_SEED = 20_261
_PARTITIONS = 8
_WORKERS = 2
_NEEDED = ("KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL")


def _known_profile(name: str) -> str:
    """Raises `BadParameter` with the names that there are."""
    if name not in PROFILES:
        msg = f"expected one of {', '.join(PROFILES)}, got {name}"
        raise typer.BadParameter(msg)
    return name


Profile = Annotated[
    str,
    typer.Option(
        callback=_known_profile,
        help="Which workload; `python -m loadtest profiles` says what each is.",
    ),
]
Rate = Annotated[int, typer.Option(help="Events a second, on average.", min=1)]
Duration = Annotated[int, typer.Option(help="Seconds.", min=1)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same load.", min=0)]
Customers = Annotated[
    int | None, typer.Option(help="Instead of the profile's number.", min=2, max=9_999_999)
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        help="Workers to start; default 2 on the local stack, 0 where addresses are given.", min=0
    ),
]
Partitions = Annotated[int, typer.Option(help="Of a topic that is created here.", min=1)]
Namespace = Annotated[
    str | None,
    typer.Option(
        envvar="METERLINE_NAMESPACE", help="Of the deployment; default: a new one, if ours."
    ),
]
Kafka = Annotated[
    str | None, typer.Option(envvar="KAFKA_BOOTSTRAP_SERVERS", help="host:port[,...]")
]
Redis = Annotated[
    str | None, typer.Option(envvar="REDIS_URL", help="For workers that are started here.")
]
Url = Annotated[str | None, typer.Option(envvar="CLICKHOUSE_URL", help="HTTP URL.")]
Rated = Annotated[
    bool, typer.Option(help="Charge the events, by three plans, and compare every charge as well.")
]
Soak = Annotated[
    bool, typer.Option("--soak", help="What grows over the second half of the run is wrong, too.")
]
KillEvery = Annotated[
    float | None,
    typer.Option(
        help="Kill one of the workers that often, in seconds, and start another instead.", min=0.1
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the report and the logs.")]
Keep = Annotated[bool, typer.Option(help="Leave a local stack running.")]


def run(
    *,
    profile: Profile = "steady",
    rate: Rate = 10_000,
    duration: Duration = 30,
    seed: Seed = _SEED,
    customers: Customers = None,
    workers: WorkerCount = None,
    partitions: Partitions = _PARTITIONS,
    rated: Rated = False,
    soak: Soak = False,
    kill_every: KillEvery = None,
    namespace: Namespace = None,
    kafka: Kafka = None,
    redis: Redis = None,
    clickhouse: Url = None,
    out: Out = None,
    keep: Keep = False,
) -> None:
    """Send a seeded load on a fixed schedule, measure until it is durable, compare every total.

    Without --kafka and --clickhouse (or their variables) the local stack is started, and workers
    in a namespace of their own. With them, workers have to run already, unless --workers is given.

    Exit codes: 0 every number is right; 1 one is not, the run could not be finished, or with --soak
    memory, open files, threads or lag grew; 2 bad arguments; 75 a server does not answer.

    Example: python -m loadtest run --profile burst --rate 20000 --duration 60
    """
    addresses = zip(ADDRESSES, (kafka, redis, clickhouse), strict=True)
    given = {name: value for name, value in addresses if value}
    started = _workers_to_start(given, workers, partitions=partitions)
    is_new = namespace is None and started
    if rated and not is_new:
        msg = "prices are those of a deployment of our own: leave out --namespace, start --workers"
        raise typer.BadParameter(msg, param_hint="--rated")
    if soak and (duration < SOAK_S_MIN or not started):
        msg = f"a soak watches workers that are started here, for at least {SOAK_S_MIN} s"
        raise typer.BadParameter(msg, param_hint="--soak")
    if kill_every is not None and (soak or not started or kill_every > duration):
        msg = "workers that are started here are killed, within --duration, and not in a soak"
        raise typer.BadParameter(msg, param_hint="--kill-every")
    name = f"load_{seed}_{int(time.time())}" if is_new else namespace or ""
    folder = made_folder(out or Path(".meterline/load") / (name or "default"))
    chosen = PROFILES[profile]
    chosen = chosen if customers is None else replace(chosen, customers=customers)
    console = Console()
    with (
        reporting(console, folder=folder),
        _servers(folder, given, keep=keep) as (found, pids),
    ):
        if "redis" in pids:
            make_room(found["REDIS_URL"], rate * duration)
        is_right = run_load(
            Run(
                profile=chosen, schedule=Schedule(rate, duration, chosen.bursts), seed=seed,
                workers=started, partitions=partitions, namespace=name, addresses=found,
                pids=pids, folder=folder,
                prefix=f"lt{int(time.time()):010d}", is_rated=rated, is_soak=soak,
                kill_every_s=kill_every,
                command=shlex.join(["python", "-m", "loadtest", *sys.argv[1:]]),
            ),
            console,
        )  # fmt: skip
    if not is_right:
        raise typer.Exit(FAILED)


def _workers_to_start(given: dict[str, str], asked: int | None, *, partitions: int) -> int:
    """Raises `BadParameter` when that many cannot be started, or none runs."""
    is_theirs = all(name in given for name in _NEEDED)
    started = (0 if is_theirs else min(_WORKERS, partitions)) if asked is None else asked
    fault = ""
    if started > partitions:
        fault = f"expected at most one worker a partition, got {started} for {partitions}"
    elif is_theirs and started and "REDIS_URL" not in given:
        fault = "workers that are started here need --redis (or REDIS_URL) beside the other two"
    elif not is_theirs and not started:
        fault = "0 is for workers that run already: give --kafka and --clickhouse"
    if fault:
        raise typer.BadParameter(fault, param_hint="--workers")
    return started


def profiles() -> None:
    """List the workload profiles of `run`.

    Example: python -m loadtest profiles
    """
    for profile in PROFILES.values():
        typer.echo(f"{profile.name:<22}{profile.says}")


@contextmanager
def _servers(
    folder: Path, given: dict[str, str], *, keep: bool
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """The servers, and the process ids of those that are ours.

    Raises `RedisError` at once when one was given that does not answer: it is asked by the workers,
    and by nobody here before the end.
    """
    if "REDIS_URL" in given:
        expect_redis(given["REDIS_URL"])
    if all(name in given for name in _NEEDED):
        yield given, {}
        return
    with servers(folder, keep=keep, given=given_addresses() | given) as addresses:
        yield addresses, server_pids(folder)
