"""How a run is shown: progress bars, the table at the end, and the one line for programs."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtest.outcome import Outcome


def bars(console: Console) -> Progress:
    """Progress bars that count events."""
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def summary_table(expected: Outcome, got: Outcome, accounted_s: float) -> Table:
    """Truth and ClickHouse side by side; `accounted_s` is from the start to the last event."""
    rate = expected.accounted / accounted_s
    table = Table(
        title=f"{expected.accounted:,} events in {accounted_s:.1f} s ({rate:,.0f}/s)",
        title_justify="left",
    )
    table.add_column("what")
    table.add_column("truth", justify="right")
    table.add_column("ClickHouse", justify="right")
    for what, wanted, found in zip(_NAMES, _numbers(expected), _numbers(got), strict=True):
        style = "green" if wanted == found else "bold red"
        table.add_row(what, f"{wanted:,}", f"[{style}]{found:,}[/]")
    return table


def summary_line(verdict: str, outcome: Outcome, seconds: float) -> str:
    """`VERDICT events=N accepted=N duplicates=N conflicts=N rejected=N late=N seconds=S`.

    `rejected` is without conflicts; accepted + duplicates + conflicts + rejected + suppressed are
    all events.
    """
    return (
        f"{verdict} events={outcome.accounted} accepted={outcome.accepted}"
        f" duplicates={outcome.duplicates} conflicts={outcome.conflicts}"
        f" rejected={outcome.rejected_without_conflicts} late={outcome.late or 0}"
        f" seconds={seconds:.1f}"
    )


_NAMES = (
    "accepted",
    "  of these late",
    "  of these disregarded",
    "duplicates",
    "conflicts",
    "rejected",
    "  different codes",
    "suppressed",
    "hourly totals",
    "  events in them",
)


def _numbers(outcome: Outcome) -> tuple[int, ...]:
    return (
        outcome.accepted,
        outcome.late or 0,
        outcome.disregarded,
        outcome.duplicates,
        outcome.conflicts,
        outcome.rejected_without_conflicts,
        len(outcome.rejected),
        outcome.suppressed,
        len(outcome.totals),
        sum(total.events for total in outcome.totals.values()),
    )
