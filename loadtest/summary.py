"""How a run is shown: progress bars, the table at the end, and the one line for programs."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtest.outcome import Outcome
from loadtest.prices import Charge, ChargeKey


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


def charges_table(charges: Mapping[ChargeKey, Charge], count: int) -> Table:
    """Some of `count` lines: what was used, what of it was included, what the rest costs."""
    table = Table(title=f"{len(charges)} of {count:,} charges", title_justify="left")
    for name in ("customer", "meter", "group"):
        table.add_column(name)
    for name in ("used", "included", "overage", "charge"):
        table.add_column(name, justify="right")
    for key, charge in charges.items():
        table.add_row(key.customer_id, key.meter, key.group, *map(_decimal, charge))
    return table


def dearest_by_meter(charges: Mapping[ChargeKey, Charge]) -> dict[ChargeKey, Charge]:
    """The greatest charge of each meter that is charged at all."""
    found: dict[str, ChargeKey] = {}
    for key in sorted(charges, key=lambda key: charges[key].charge):
        if charges[key].charge:
            found[key.meter] = key
    return {key: charges[key] for _, key in sorted(found.items())}


def _decimal(value: Fraction) -> str:
    """Without trailing zeros; every value here has an end."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


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
