"""The matrix: what is hurt, how, at which step of a write, beside how many workers."""

from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import product
from typing import NamedTuple

TARGETS = ("worker", "redis", "clickhouse", "kafka")
#: kill: SIGKILL, then started again. pause: stopped, a worker for longer than its group waits for
#: it, a server for 2 s; then SIGCONT. restart: SIGTERM, then started again. wiped: killed, and all
#: its data deleted. slow: stopped for four fifths of the time.
FAULTS = ("kill", "pause", "restart", "wiped", "slow")
#: 1 raw, 2 totals, 3 watermarks, 4 commit: the worker stands right before that one.
STEPS = (1, 2, 3, 4)
WORKERS = (1, 3)


class Cell(NamedTuple):
    """One of the matrix; `name` is how it is asked for."""

    target: str
    fault: str
    step: int
    workers: int

    @property
    def name(self) -> str:
        """As in `--cells`."""
        return f"{self.target}:{self.fault}:{self.step}:{self.workers}"


MATRIX = tuple(Cell(*each) for each in product(TARGETS, FAULTS, STEPS, WORKERS))

#: One of each target, of those that take the least time.
SHORT = (
    Cell("worker", "kill", 2, 3),
    Cell("redis", "wiped", 1, 1),
    Cell("clickhouse", "kill", 2, 1),
    Cell("kafka", "restart", 4, 1),
)


def chosen(patterns: Sequence[str]) -> list[Cell]:
    """Cells whose name matches any of the patterns (`redis:*:2:1`), in the order of the matrix.

    Missing parts at the end mean all. Raises `ValueError` naming a pattern that matches none.
    """
    found = set()
    for pattern in patterns:
        parts = pattern.split(":")
        whole = ":".join([*parts, *["*"] * (len(Cell._fields) - len(parts))])
        matching = {cell for cell in MATRIX if fnmatch(cell.name, whole)}
        if not matching:
            msg = (
                f"expected target:fault:step:workers of {', '.join(TARGETS)};"
                f" {', '.join(FAULTS)}; {', '.join(map(str, STEPS))};"
                f" {', '.join(map(str, WORKERS))}, each or *, got {pattern}"
            )
            raise ValueError(msg)
        found |= matching
    return [cell for cell in MATRIX if cell in found]
