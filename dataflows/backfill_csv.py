"""CSV: a header with field names, a row an event; cells stay text, so numbers stay exact."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import orjson

from dataflows.backfill_rows import DIMENSION_PREFIX, FileUnfit, RowChunk, check_columns


class CsvFile:
    """Rows are records of comma-separated values (RFC 4180) in UTF-8.

    An empty cell is a field that is not there. A record that does not fit the header, or is not
    text, is handed on as it stands in the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the header. Raises `FileUnfit`."""
        self._path = path
        self._size = max(path.stat().st_size, 1)
        with self._open() as file:
            try:
                self._names = [name.strip() for name in next(csv.reader(file, strict=True), [])]
            except csv.Error as error:
                msg = f"{path}: expected a header of field names, got: {error}"
                raise FileUnfit(msg) from error
        if not self._names:
            msg = f"{path}: expected a header of field names, got an empty file"
            raise FileUnfit(msg)
        check_columns(path, self._names)

    def chunks(self, start: int, size: int) -> Iterator[RowChunk]:
        """Records from number `start` on; the header is not counted."""
        write = row_writer(self._names)
        numbers: list[int] = []
        values: list[bytes] = []
        with self._open() as file:
            lines = _Lines(file)
            records = csv.reader(lines, strict=True)
            next(records)
            for number, cells in enumerate(_records(records, lines)):
                if number < start or cells == []:
                    continue
                numbers.append(number)
                values.append(self._value(write, cells, lines=lines))
                if len(numbers) == size:
                    yield RowChunk(numbers, values, min(lines.behind / self._size, 1.0))
                    numbers, values = [], []
        if numbers:
            yield RowChunk(numbers, values, 1.0)

    def _value(
        self,
        write: Callable[[list[str | None]], bytes],
        cells: list[str] | None,
        *,
        lines: "_Lines",
    ) -> bytes:
        if cells is None or len(cells) != len(self._names):
            return lines.taken()
        try:
            return write([cell or None for cell in cells])
        except (UnicodeEncodeError, orjson.JSONEncodeError):  # bytes that are no UTF-8
            return lines.taken()

    def _open(self) -> TextIO:
        return self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


class _Lines:
    """Lines of a file, with those that the record being read is made of."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._taken: list[str] = []
        self.behind = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self._taken.append(line)
        self.behind += len(line)
        return line

    def begin(self) -> None:
        self._taken = []

    def taken(self) -> bytes:
        return "".join(self._taken).strip("\r\n").encode("utf-8", "surrogateescape")


def _records(records: Iterator[list[str]], lines: _Lines) -> Iterator[list[str] | None]:
    """Records in order; None for one that is not CSV."""
    while True:
        lines.begin()
        try:
            yield next(records)
        except StopIteration:
            return
        except csv.Error:
            yield None


def row_writer(names: list[str]) -> Callable[[list[str | None]], bytes]:
    """Make the function that writes cells (None: not there) of columns `names` as one event.

    Cells become JSON text, so a quantity keeps all its digits. The column `dimensions` is JSON.
    """
    fields = [(at, name) for at, name in enumerate(names) if not _is_dimension(name)]
    pairs = [
        (at, name.removeprefix(DIMENSION_PREFIX)) for at, name in enumerate(names)
        if name.startswith(DIMENSION_PREFIX)
    ]  # fmt: skip
    whole = names.index("dimensions") if "dimensions" in names else None

    def write(cells: list[str | None]) -> bytes:
        event: dict[str, object] = {
            name: cell for at, name in fields if (cell := cells[at]) is not None
        }
        if pairs:
            event["dimensions"] = {
                name: cell for at, name in pairs if (cell := cells[at]) is not None
            }
        elif whole is not None and (text := cells[whole]) is not None:
            event["dimensions"] = _json_or_text(text)
        return orjson.dumps(event)

    return write


def _is_dimension(name: str) -> bool:
    return name == "dimensions" or name.startswith(DIMENSION_PREFIX)


def _json_or_text(text: str) -> object:
    """The JSON as it stands; what is none stays text, which the decoder rejects by name."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return orjson.Fragment(text)
