"""Whole numbers of 10^-12 units to and from Arrow decimals, exactly and mostly without a loop."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.batch import QUANTITY_SCALE

_WIDE = pa.decimal256(76, QUANTITY_SCALE)


def decimal256_of_words(words: NDArray[np.uint64]) -> pa.Array:
    """Decimal(76, 12) column of n x 4 words, the low one first, two's complement."""
    return pa.Array.from_buffers(_WIDE, len(words), [None, pa.py_buffer(words)])


def units_of(column: pa.Array) -> list[int]:
    """Whole 10^-12 units of a Decimal(38, 12) or Decimal(76, 12) column without nulls."""
    words_per_value = column.type.bit_width // 64
    raw = np.frombuffer(column.buffers()[1], np.uint64)
    words = raw[column.offset * words_per_value :][: len(column) * words_per_value]
    words = words.reshape(-1, words_per_value)
    low = words[:, 0].view(np.int64) if len(words) else np.zeros(0, np.int64)
    signs = (low >> 63).view(np.uint64)
    if all((words[:, at] == signs).all() for at in range(1, words_per_value)):
        whole: list[int] = low.tolist()
        return whole
    data = words.tobytes()
    size = words_per_value * 8
    return [
        int.from_bytes(data[at : at + size], "little", signed=True)
        for at in range(0, len(data), size)
    ]
