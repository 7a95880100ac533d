"""`faults.md`: what was run, on what, and what came of each cell or round."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from loadtest.faults.matrix import Result, grid, table


@dataclass(frozen=True)
class Report:
    """What stands around the results; `command` repeats them, `asked` is how many there will be.

    `is_matrix`: they are cells, and not rounds of kills. `machine` is what `describe_machine` says.
    """

    started_at: datetime
    command: str
    seed: int
    asked: int
    is_matrix: bool
    machine: dict[str, str]

    def page(self, results: Sequence[Result]) -> str:
        """Markdown, of those that there are so far."""
        lines = [
            f"# Faults of {self.started_at:%Y-%m-%d %H:%M} UTC", "",
            self._verdict(results), "",
            f"    {self.command}", "",
            *(grid(results) if self.is_matrix else ()), "", *table(results), "",
            "| machine | |", "| --- | --- |",
            *(f"| {name} | {text} |" for name, text in self.machine.items()),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _verdict(self, results: Sequence[Result]) -> str:
        exact = sum(not each.problems for each in results)
        each = "cells" if self.is_matrix else "rounds"
        left = self.asked - len(results)
        return (
            f"Seed {self.seed}, commit {self.machine.get('commit', 'unknown')}:"
            f" **{exact} of {len(results)} {each} exact**"
            + (f", {left} not run yet." if left else ".")
        )
