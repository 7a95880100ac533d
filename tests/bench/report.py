"""The result as tables on the terminal, and as JSON and Markdown files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from requirements import Verdict, judge
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.figures import Section


@dataclass(frozen=True)
class Report:
    """All of one run; `command` repeats it."""

    started_at: datetime
    command: str
    seed: int
    is_quick: bool
    machine: Mapping[str, str]
    sections: Sequence[Section]

    @property
    def verdicts(self) -> list[Verdict]:
        """Requirement by requirement; a quick run says what it measured, and judges nothing."""
        *asked, exact = judge({section.name: section for section in self.sections})
        if self.is_quick:
            asked = [verdict._replace(is_met=None) for verdict in asked]
        return [*asked, exact]

    @property
    def is_sound(self) -> bool:
        """Everything ran, and everything that must be exact is; speed is not part of this."""
        return all(section.is_sound for section in self.sections)

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write `<date>.json` and `<date>.md`; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{self.started_at:%Y-%m-%dT%H%M%SZ}{'-quick' if self.is_quick else ''}"
        as_json, as_text = folder / f"{stem}.json", folder / f"{stem}.md"
        document = {
            "started_at": self.started_at.isoformat(),
            "command": self.command,
            "seed": self.seed,
            "quick": self.is_quick,
            "machine": dict(self.machine),
            "sections": [
                {**asdict(section), "figures": [each._asdict() for each in section.figures]}
                for section in self.sections
            ],
            "requirements": [verdict._asdict() for verdict in self.verdicts],
        }
        as_json.write_text(json.dumps(document, indent=1) + "\n")
        as_text.write_text(_markdown(self))
        return as_json, as_text


def print_section(console: Console, section: Section) -> None:
    """Commands, figures, and what went wrong."""
    for command in section.commands:
        console.print(f"  $ {command}", markup=False, style="dim")
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2))
    table.add_column("name")
    table.add_column("value", justify="right")
    table.add_column("note", style="dim", overflow="fold")
    for figure in section.figures:
        table.add_row(*map(escape, (figure.name, figure.text, figure.note)))
    console.print(table)
    for problem in _problems(section):
        console.print(f"  {problem}", markup=False, style="bold red")


def print_verdicts(console: Console, report: Report) -> None:
    """Requirement, measured, met."""
    how = " (quick: too short to judge by)" if report.is_quick else ""
    table = Table(title=f"requirements{how}", title_justify="left")
    table.add_column("requirement", overflow="fold")
    table.add_column("measured", justify="right")
    table.add_column("met")
    for verdict in report.verdicts:
        style = {True: "green", False: "red", None: "dim"}[verdict.is_met]
        table.add_row(escape(verdict.requirement), verdict.measured, f"[{style}]{verdict.met}[/]")
    console.print(table)


def _problems(section: Section) -> list[str]:
    failed = [f"FAILED: {section.error}"] if section.error else []
    return failed + [f"NOT EXACT: {each}" for each in section.differences]


def _markdown(report: Report) -> str:
    lines = [
        f"# Bench of {report.started_at:%Y-%m-%d %H:%M} UTC",
        "",
        f"`{report.command}`, seed {report.seed}"
        + (" (quick: too short to judge by)" if report.is_quick else ""),
        "",
        "| requirement | measured | met |",
        "| --- | ---: | --- |",
        *(f"| {each.requirement} | {each.measured} | {each.met} |" for each in report.verdicts),
        "",
        "| machine | |",
        "| --- | --- |",
        *(f"| {name} | {_cell(text)} |" for name, text in report.machine.items()),
    ]
    for section in report.sections:
        lines += ["", f"## {section.name}: {section.title}", ""]
        lines += [f"    {command}" for command in section.commands]
        lines += ["", "| figure | value | |", "| --- | ---: | --- |"]
        lines += [
            f"| {each.name} | {_cell(each.text)} | {_cell(each.note)} |" for each in section.figures
        ]
        lines += [f"\n**{problem}**" for problem in _problems(section)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
