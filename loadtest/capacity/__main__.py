"""`python -m loadtest.capacity REPORT`: from measured costs to machines, memory and storage."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.capacity.costs import Costs, CostsMissing, read_costs
from loadtest.capacity.sizing import Assumptions
from loadtest.capacity.tables import Measured, render
from loadtest.page import put

NAME = "python -m loadtest.capacity"
_PAGE = Path("docs/capacity.md")
#: What the page was computed from, so that anybody can compute it again.
_STORED = Path("docs/capacity.json")
_TOLD = (
    "CPU",
    "cores",
    "memory",
    "load average",
    "kernel",
    "Python",
    "Redis",
    "ClickHouse",
    "commit",
)


def main(
    report: Annotated[Path, typer.Argument(help="JSON that `make bench` wrote.")],
    *,
    utilisation: Annotated[float, typer.Option(min=0.05, max=1.0)] = Assumptions.utilisation,
    window_days: Annotated[
        float, typer.Option(min=0.01, help="Length of the dedup window.")
    ] = Assumptions.window_days,
    cores: Annotated[int, typer.Option(min=1, help="Of a machine.")] = Assumptions.machine_cores,
    memory_gib: Annotated[int, typer.Option(min=1, help="Of a machine.")] = 64,
    page: Annotated[bool, typer.Option("--page", help="Put it into docs/capacity.md.")] = False,
) -> None:
    """Print what 10 k, 100 k, 1 M and 10 M events/s need, by what a run of `make bench` measured.

    Exit codes: 0 printed; 1 the report lacks a figure.

    Example: python -m loadtest.capacity .meterline/bench/2026-01-31T120000Z.json
    """
    given = replace(
        Assumptions(),
        utilisation=utilisation,
        window_days=window_days,
        machine_cores=cores,
        machine_memory_bytes=memory_gib << 30,
    )
    try:
        measured = measured_by(json.loads(report.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, CostsMissing) as error:
        typer.echo(f"CAPACITY FAILED: {report}: {error}", err=True)
        raise typer.Exit(1) from None
    text = render(measured, given)
    typer.echo(text)
    if page:
        stored = {
            "run": dict(measured.run),
            "costs": asdict(measured.costs),
            "assumptions": asdict(given),
        }
        _STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        put(_PAGE, NAME, text=text)


def measured_by(report: dict[str, Any]) -> Measured:
    """Date, command, seed and machine of a report, and its costs. Raises `CostsMissing`."""
    costs = read_costs(report)
    machine = report["machine"]
    run = {
        "command": f"`{report['command']}`" + (" (quick)" if report["quick"] else ""),
        "date": str(report["started_at"])[:16].replace("T", " ") + " UTC",
        "seed": str(report["seed"]),
        **{name: str(machine[name]) for name in _TOLD if name in machine},
    }
    return Measured(run, costs)


def render_stored(stored: dict[str, Any]) -> str:
    """What `docs/capacity.json` comes to: the text that stands in the page."""
    measured = Measured(stored["run"], Costs(**stored["costs"]))
    return render(measured, Assumptions(**stored["assumptions"]))


if __name__ == "__main__":
    typer.run(main)
