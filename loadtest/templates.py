"""Text of one fixed width as rows of bytes, of which columns are written for all rows at once.

What makes a generator fast: a template is repeated, and runs of a mark in it are written over.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]


class Template:
    """ASCII text; a run of a character that occurs nowhere else is a field, named by it."""

    def __init__(self, text: str, marks: str) -> None:
        """`marks` are the characters that name fields; one that is not in `text` is no field."""
        self.width = len(text)
        self._row = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        self.starts = {mark: text.index(mark) for mark in marks if mark in text}

    def rows(self, count: int) -> Bytes:
        """The text, `count` times."""
        return np.tile(self._row, (count, 1))

    def fill(self, rows: Bytes, mark: str, *, columns: Bytes) -> None:
        """Write `columns` over a field in every row."""
        start = self.starts[mark]
        rows[:, start : start + columns.shape[1]] = columns


def digits(values: Integers, width: int) -> Bytes:
    """Decimal digits of each value, one row a value."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def rows_of_text(texts: list[str]) -> Bytes:
    """ASCII texts of one width as rows of bytes."""
    return np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(len(texts), -1)


def split_rows(rows: Bytes) -> list[bytes]:
    """Each row as bytes of its own."""
    width, block = rows.shape[1], rows.tobytes()
    return [block[at : at + width] for at in range(0, len(block), width)]
