"""Reading `subscriptions.*`: every row is checked, then all of them together.

A customer has one subscription at a time and one billing calendar for all time; a change of plan
inside a billing period stays in its currency and rounding. Files of several formats may lie beside
each other and are one list.
"""

from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from rating_engine.price_book.plan_fields import shortened
from rating_engine.price_book.read_plans import PlansRead
from rating_engine.price_book.subscription import Columns, Subscriptions
from rating_engine.price_book.subscription_check import RowCheck
from rating_engine.price_book.subscription_conflicts import conflicts
from rating_engine.price_book.subscription_rows import READERS, Row, yaml_rows

#: Faults of subscriptions that are told; of the others only how many they are.
FAULTS_TOLD_MAX = 1000


class Faults:
    """Faults of subscriptions, as `file:line: field: expected ..., got ...`, up to a bound."""

    def __init__(self, told: list[str]) -> None:
        """Faults are appended to `told`."""
        self._told = told
        self.count = 0

    def tell(self, place: str, expected: str, *, got: str) -> None:
        """Tell one, or only count it."""
        self.count += 1
        if self.count <= FAULTS_TOLD_MAX:
            self._told.append(f"{place}: expected {expected}, got {shortened(got)}")

    def close(self) -> None:
        """Say how many were not told."""
        if self.count > FAULTS_TOLD_MAX:
            more = self.count - FAULTS_TOLD_MAX
            self._told.append(f"subscriptions: {more} more faults like these")


class Places:
    """Where each subscription stands: its file and line, in little space."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._path_of, self._lines = array("b"), array("q")

    def add(self, path: Path, line: int) -> None:
        """Keep the place of the next one."""
        if not self._paths or self._paths[-1] != path:
            self._paths.append(path)
        self._path_of.append(len(self._paths) - 1)
        self._lines.append(line)

    def path(self, at: int) -> Path:
        """The file of one."""
        return self._paths[self._path_of[at]]

    def line(self, at: int) -> int:
        """The line of one."""
        return self._lines[at]

    def of(self, at: int) -> str:
        """`subscriptions.yaml:7`."""
        return f"{self.path(at).name}:{self.line(at)}"


def read_subscriptions(folder: Path, plans: PlansRead, *, told: list[str]) -> Subscriptions:
    """Read `subscriptions.yaml`, `.csv`, `.ndjson` and `.parquet` in `folder`, those that exist.

    Faults are appended to `told`; with any, what comes back means nothing.
    """
    faults = Faults(told)
    check = RowCheck(plans)
    columns = check.columns
    places = Places()
    seen: set[str] = set()
    for path, row in _rows(folder, faults, told=told):
        if not check.add(row):
            for field, expected, got in check.faults:
                line = row.line if row.lines is None else row.lines.get(field, row.line)
                faults.tell(f"{path}:{line}: {row.place}{field}", expected, got=got)
            continue
        name = columns.ids[-1]
        if name in seen:
            expected = f"an id that is not taken ({places.of(columns.ids.index(name))} has it)"
            faults.tell(f"{path}:{row.line}: {row.place}id", expected, got=repr(name))
        seen.add(name)
        places.add(path, row.line)
    order = _order(columns)
    for earlier, later in _neighbours(columns, order):
        found = conflicts(columns, (earlier, later), other=places.of(earlier), plans=plans.plans)
        for field, expected, got in found:
            faults.tell(f"{places.path(later)}:{places.line(later)}: {field}", expected, got=got)
    faults.close()
    return Subscriptions(columns.ordered(order))


def _rows(folder: Path, faults: Faults, *, told: list[str]) -> Iterator[tuple[Path, Row]]:
    path = folder / "subscriptions.yaml"
    for row in yaml_rows(path, told) if path.exists() else ():
        yield path, row
    for ending, read in READERS.items():
        path = folder / f"subscriptions.{ending}"
        if not path.exists():
            continue

        def tell(line: int, field: str, *, expected: str, got: str, of: Path = path) -> None:
            faults.tell(f"{of}:{line}: {field}", expected, got=got)

        try:
            for row in read(path, tell):
                yield path, row
        except (OSError, UnicodeDecodeError) as error:
            faults.tell(f"{path}:1: file", "readable UTF-8", got=str(error))


def _order(columns: Columns) -> list[int]:
    by_time = sorted(range(len(columns.ids)), key=columns.from_us.__getitem__)
    return sorted(by_time, key=columns.customers.__getitem__)


def _neighbours(columns: Columns, order: list[int]) -> Iterator[tuple[int, int]]:
    """Rows of one customer that follow each other in time."""
    customers = columns.customers
    for earlier, later in pairwise(order):
        if customers[earlier] == customers[later]:
            yield earlier, later
