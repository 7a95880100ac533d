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


def summary_table(expected: Outcome, got: Outcome, title: str) -> Table:
    """Truth and ClickHouse side by side; what the truth does not know is left out."""
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("truth", justify="right")
    table.add_column("ClickHouse", justify="right")
    for (what, wanted), (_, found) in zip(_numbers(expected), _numbers(got), strict=True):
        if wanted is not None and found is not None:
            style = "green" if wanted == found else "bold red"
            table.add_row(what, f"{wanted:,}", f"[{style}]{found:,}[/]")
    return table


def summary_line(verdict: str, outcome: Outcome, seconds: float) -> str:
    """`VERDICT events=N accepted=N duplicates=N conflicts=N rejected=N late=N seconds=S`.

    `rejected` is without conflicts; accepted + duplicates + conflicts + rejected + suppressed are
    all events. `late` is missing where it is not known.
    """
    late = "" if outcome.late is None else f" late={outcome.late}"
    return (
        f"{verdict} events={outcome.accounted} accepted={outcome.accepted}"
        f" duplicates={outcome.duplicates} conflicts={outcome.conflicts}"
        f" rejected={outcome.rejected_without_conflicts}{late} seconds={seconds:.1f}"
    )


def _numbers(outcome: Outcome) -> list[tuple[str, int | None]]:
    return [
        ("accepted", outcome.accepted),
        ("  of these late", outcome.late),
        ("  of these disregarded", outcome.disregarded),
        ("duplicates", outcome.duplicates),
        ("conflicts", outcome.conflicts),
        ("rejected", outcome.rejected_without_conflicts),
        ("  different codes", len(outcome.rejected)),
        ("suppressed", outcome.suppressed),
        ("hourly totals", len(outcome.totals)),
        ("  events in them", sum(total.events for total in outcome.totals.values())),
    ]
