"""`meterline stack`: Kafka, Redis and ClickHouse on this machine, for development and tests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as ProgressBars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.localstack.errors import StackError
from deploy.localstack.service import Progress
from deploy.localstack.stack import SERVICE_NAMES, WATCHING_NAMES, LocalStack, ServiceStatus

EXIT_FAILED = 1
EXIT_NOT_RUNNING = 3

app = typer.Typer(
    name="stack",
    no_args_is_help=True,
    help="Kafka, Redis and ClickHouse on this machine. A service whose variable "
    "(KAFKA_BOOTSTRAP_SERVERS, REDIS_URL, CLICKHOUSE_URL) is set is used, not started.",
)

DataDir = Annotated[
    Path,
    typer.Option(
        "--data", envvar="METERLINE_STACK", help="Folder of the stack's data, logs and state."
    ),
]
ServiceNames = Annotated[
    list[str] | None,
    typer.Option("--service", help=f"One of {', '.join(SERVICE_NAMES)}; repeatable. Default: all."),
]


class Beside(StrEnum):
    """What may be started beside the three servers."""

    PROMETHEUS = "prometheus"


With = Annotated[
    list[Beside] | None,
    typer.Option(
        "--with", help="Beside them: prometheus, with Alertmanager, on the rules of this project."
    ),
]
_DEFAULT_DATA = Path(".meterline/stack")
_STYLES = {"up": "green", "down": "red", "external": "cyan"}

_out = Console()
_err = Console(stderr=True)


@app.command()
def up(
    service: ServiceNames = None,
    *,
    beside: With = None,
    data: DataDir = _DEFAULT_DATA,
) -> None:
    """Start what does not run yet and wait until everything answers.

    Data and ports of an earlier run are used again. The first run fetches Kafka's jars.

    Exit codes: 0 everything is up; 1 something did not start (its log is shown).

    Example: meterline stack up && eval "export $(meterline stack env | xargs)"
    """
    stack = LocalStack(data)
    with _reporting_errors(), _showing_progress() as progress:
        wanted = [*(service or SERVICE_NAMES), *(WATCHING_NAMES if beside else ())]
        stack.up(wanted, progress=progress)
    _print_table(stack.status())


@app.command()
def down(data: DataDir = _DEFAULT_DATA) -> None:
    """End the processes that `up` started, and only those; data and ports are kept.

    Exit codes: 0 nothing of ours runs any more; 1 something would not end.

    Example: meterline stack down
    """
    with _reporting_errors(), _showing_progress() as progress:
        LocalStack(data).down(progress=progress)


@app.command()
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    data: DataDir = _DEFAULT_DATA,
) -> None:
    """Show each service: up, down or external, whether it answers, its address and log.

    Exit codes: 0 every service is up or external; 3 one is not running or does not answer.

    Example: meterline stack status --json
    """
    services = LocalStack(data).status()
    if as_json:
        typer.echo(json.dumps([_as_json(found) for found in services.values()], indent=2))
    else:
        _print_table(services)
    if not all(map(_is_usable, services.values())):
        raise typer.Exit(EXIT_NOT_RUNNING)


@app.command()
def env(data: DataDir = _DEFAULT_DATA) -> None:
    """Print the variables that point a program at the stack, one NAME=value a line.

    Exit codes: 0 printed; 3 a service is not running (nothing is printed).

    Example: meterline stack env > .env
    """
    stack = LocalStack(data)
    missing = [found.name for found in stack.status().values() if found.condition == "down"]
    if missing:
        _fail(f"not running: {', '.join(missing)}. Run `meterline stack up`.", EXIT_NOT_RUNNING)
    for name, value in stack.env().items():
        typer.echo(f"{name}={value}")


@contextmanager
def _reporting_errors() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        _fail(str(error), EXIT_FAILED)


def _fail(message: str, code: int) -> NoReturn:
    _err.print(escape(message), style="red", soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def _showing_progress() -> Iterator[Progress]:
    """Show a line with a spinner and a clock for each service, on stderr."""
    columns = (SpinnerColumn(), TextColumn("{task.fields[service]:<11}"))
    clock = (TextColumn("{task.description}"), TimeElapsedColumn())
    with ProgressBars(*columns, *clock, console=_err) as bars:
        lines: dict[str, TaskID] = {}

        def report(service: str, doing: str) -> None:
            if service not in lines:
                lines[service] = bars.add_task("", total=1, service=service)
            finished = doing in {"ready", "stopped"}
            bars.update(lines[service], description=doing, completed=int(finished))

        yield report


def _is_usable(found: ServiceStatus) -> bool:
    return found.condition == "external" or found.healthy


def _as_json(found: ServiceStatus) -> dict[str, object]:
    return {**dataclasses.asdict(found), "log_file": str(found.log_file)}


def _print_table(services: dict[str, ServiceStatus]) -> None:
    table = Table("service", "is", "answers", box=None, pad_edge=False)
    table.add_column("address", no_wrap=True)
    table.add_column("log", overflow="fold")
    for found in services.values():
        answers = "" if found.condition != "up" else ("yes" if found.healthy else "no")
        table.add_row(
            found.name,
            f"[{_STYLES[found.condition]}]{found.condition}[/]",
            answers,
            escape(found.address or ""),
            escape(str(found.log_file)),
        )
    _out.print(table, soft_wrap=True)


if __name__ == "__main__":
    app()
