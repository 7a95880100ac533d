"""A report on the terminal: truth beside what was found, figures, what grew, and the one line."""

from pathlib import Path

from rich.console import Console

from loadtest.load.growth import Growth
from loadtest.load.report import Report, counts_of
from loadtest.oracle import differences_table
from loadtest.outcome import Outcome
from loadtest.summary import summary_table


def show_report(
    out: Console, report: Report, *, expected: Outcome, got: Outcome, name: str = "LOAD"
) -> None:
    """Print all of it; the last line is for programs.

    `NAME OK|FAILED events=N accepted=N ... differences=N [grown=N] seed=N`
    """
    out.print(summary_table(expected, got, report.title))
    width = max(len(figure.name) for figure in report.figures)
    for figure in report.figures:
        note = f"  {figure.note}" if figure.note else ""
        _say(out, f"  {figure.name:<{width}}  {figure.text}{note}")
    if report.growth:
        _say(out, "  growth over the second half of the run:")
    for each in report.growth:
        _say(out, _growth_line(each))
    if report.differences:
        out.print(differences_table(list(report.differences)))
    for fault in report.faults:
        _say(out, f"  {fault}")
    verdict = f"{name} OK" if report.is_right else f"{name} FAILED"
    counts = " ".join(f"{name}={count}" for name, count in counts_of(expected).items())
    grown = f" grown={len(report.grown)}" if report.growth else ""
    _say(
        out,
        f"{verdict} events={expected.accounted} {counts} differences={len(report.differences)}"
        f"{grown} seed={report.seed}",
    )


def save_report(out: Console, report: Report, *, folder: Path) -> None:
    """Write the files of the report, and say where they are."""
    for path in report.save(folder):
        _say(out, f"written: {path}")


def _growth_line(growth: Growth) -> str:
    """Aligned; why so much is allowed stands in the report."""
    name, start, end, rise, allowed, verdict, _why = growth.row()
    told = f"{start} to {end}, rise {rise} of {allowed} allowed"
    return f"  growth {name:<24}  {verdict:<10}  {told}"


def _say(out: Console, text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
