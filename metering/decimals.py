"""Whole numbers of 10^-12 units to and from Arrow decimals, exactly and mostly without a loop."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.batch import QUANTITY_SCALE

_WIDE_BYTES = 32


def decimal256_of_words(words: NDArray[np.uint64], *, scale: int = QUANTITY_SCALE) -> pa.Array:
    """Decimal(76, `scale`) column of n x 4 words, the low one first, two's complement."""
    kind = pa.decimal256(76, scale)
    return pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(words)])


def decimal256_of(values: Sequence[int], *, scale: int = QUANTITY_SCALE) -> pa.Array:
    """Decimal(76, `scale`) column of whole numbers of its last digit."""
    return decimal256_of_words(words_of(values), scale=scale)


def words_of(numbers: Iterable[int]) -> NDArray[np.uint64]:
    """Four words for each, the low one first, two's complement."""
    data = b"".join(number.to_bytes(_WIDE_BYTES, "little", signed=True) for number in numbers)
    return np.frombuffer(data, np.uint64).reshape(-1, 4)


def widened(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Four words for each three: the same numbers."""
    wide = np.empty((len(words), 4), np.uint64)
    wide[:, :3] = words
    wide[:, 3] = (wide[:, 2].view(np.int64) >> 63).view(np.uint64)
    return wide


def coded(codes: NDArray[np.integer[Any]], texts: Sequence[str]) -> pa.DictionaryArray:
    """The text of each code (-1 is the last one); a dictionary must not name one twice."""
    places = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    place_of = np.array([places[text] for text in texts], np.int32)
    return pa.DictionaryArray.from_arrays(place_of[codes], pa.array(list(places), pa.string()))


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
