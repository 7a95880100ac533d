"""`python -m loadtest faults`: the matrix of faults under load, each cell checked to the cent."""

import logging
import shlex
import sys
from contextlib import closing
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.exits import FAILED, made_folder, reporting
from loadtest.faults.cells import MATRIX, SHORT, chosen
from loadtest.faults.hurt_servers import HurtServers
from loadtest.faults.matrix import KILLS_PER_ROUND, Matrix, Result
from loadtest.faults.report import Report
from loadtest.machine import describe_machine
from loadtest.servers import given_addresses

_SEED = 20_262
_SHOWN_MAX = 10

Cells = Annotated[
    list[str] | None,
    typer.Option(help="target:fault:step:workers, each of it or *; may be repeated."),
]
Short = Annotated[bool, typer.Option("--short", help="One cell of each target.")]
Kills = Annotated[int, typer.Option(help="Kill so many workers instead of the matrix.", min=0)]
Seed = Annotated[int, typer.Option(help="Of loads and moments.", min=0)]
Out = Annotated[Path | None, typer.Option(help="Folder of logs and of the table.")]


def faults(
    *, cells: Cells = None, short: Short = False, kills: Kills = 0, seed: Seed = _SEED,
    out: Out = None,
) -> None:  # fmt: skip
    """Hurt workers and servers under load at every step of a write, and compare every number.

    The servers are a local stack of this command's own: nothing that is in use is ever hurt.

    Exit codes: 0 every cell is exact; 1 one is not, or not all could be run; 2 bad arguments.

    Example: python -m loadtest faults --cells redis:wiped --cells 'kafka:*:2:1'
    """
    if short + bool(cells) + bool(kills) > 1:
        msg = "expected one of --short, --cells and --kills, got more"
        raise typer.BadParameter(msg)
    try:
        wanted = chosen(cells) if cells else list(SHORT if short else MATRIX)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cells") from None
    started_at = datetime.now(UTC)
    folder = made_folder(out or Path(".meterline/faults") / f"{started_at:%Y%m%dT%H%M%S}")
    console = Console()
    _say(console, f"seed {seed}; logs in {folder}")
    if given := given_addresses():
        _say(console, f"{', '.join(given)} stay as they are: only servers of our own are hurt")
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # it is away on purpose
    servers, path = HurtServers(folder / "stack"), folder / "faults.md"
    results: list[Result] = []
    with reporting(console, "FAULTS", folder=folder):
        try:
            servers.up()
            report = Report(
                started_at, shlex.join(["python", "-m", "loadtest", *sys.argv[1:]]), seed=seed,
                asked=ceil(kills / KILLS_PER_ROUND) if kills else len(wanted), is_matrix=not kills,
                machine=describe_machine(servers.addresses(), folder),
            )  # fmt: skip
            matrix = Matrix(servers, folder, seed=seed)
            # Closed at once when this is interrupted: what was started is stopped.
            with closing(matrix.kill(kills) if kills else matrix.run(wanted)) as found:
                for result in found:
                    results.append(result)
                    _tell(console, result)
                    path.write_text(report.page(results), encoding="utf-8")
        finally:
            servers.down()
    _say(console, f"written: {path}")
    wrong = [result for result in results if result.problems]
    events, killed = sum(each.events for each in results), sum(each.kills for each in results)
    verdict = "FAULTS FAILED" if wrong else "FAULTS OK"
    summary = f"cells={len(results)} wrong={len(wrong)} events={events} kills={killed} seed={seed}"
    _say(console, f"{verdict} {summary}")
    if wrong:
        raise typer.Exit(FAILED)


def _tell(console: Console, result: Result) -> None:
    _say(
        console,
        f"{result.name:<24} seed {result.seed}  {result.events:>9,} events"
        f"  {result.seconds:5.0f} s  {result.verdict}",
    )
    for problem in result.problems[:_SHOWN_MAX]:
        _say(console, f"    {problem}")
    if len(result.problems) > _SHOWN_MAX:
        _say(console, f"    ... {len(result.problems)} in all")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
