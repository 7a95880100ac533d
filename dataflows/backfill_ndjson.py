"""NDJSON: every line is the bytes of one event, as a Kafka message would carry them."""

from collections.abc import Iterator
from pathlib import Path

from dataflows.backfill_rows import FileUnfit, RowChunk

_LINE_BYTES_MAX = 64 << 20


class NdjsonFile:
    """Rows are lines; blank lines are numbered and hold nothing."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self._path = path
        self._size = max(path.stat().st_size, 1)

    def chunks(self, start: int, size: int) -> Iterator[RowChunk]:
        """Lines from number `start` on. Raises `FileUnfit` for a line beyond 64 MiB."""
        numbers: list[int] = []
        values: list[bytes] = []
        behind = 0
        with self._path.open("rb") as file:
            number = -1
            while line := file.readline(_LINE_BYTES_MAX):
                number += 1
                behind += len(line)
                if len(line) == _LINE_BYTES_MAX:
                    msg = (
                        f"{self._path}: line {number + 1}: expected one event a line, got more "
                        f"than {_LINE_BYTES_MAX} bytes. Is the file one JSON array? Split it"
                    )
                    raise FileUnfit(msg)
                value = line.strip()
                if number < start or not value:
                    continue
                numbers.append(number)
                values.append(value)
                if len(numbers) == size:
                    yield RowChunk(numbers, values, behind / self._size)
                    numbers, values = [], []
        if numbers:
            yield RowChunk(numbers, values, 1.0)
