"""Bytes of messages, eight at a time: for the compiled loops of `plain_scan` and `plain_texts`."""

import numpy as np
from numpy.typing import NDArray

from metering.compiled import inlined

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

WORD_BYTES = 8


@inlined
def word_at(data: Bytes, at: int) -> np.uint64:
    """Eight bytes as one number, the first one lowest."""
    first = np.uint64(at)
    word = np.uint64(0)
    for place in range(WORD_BYTES):
        bits = np.uint64(data[first + np.uint64(place)])
        word |= bits << np.uint64(8 * place)
    return word


@inlined
def is_repeated(data: Bytes, at: int, before: int, size: int) -> bool:
    """Whether `size` bytes from `at` on are the same as those from `before` on."""
    is_same, place = True, 0
    while is_same and size - place >= WORD_BYTES:
        is_same = word_at(data, at + place) == word_at(data, before + place)
        place += WORD_BYTES
    while is_same and place < size:
        is_same = data[at + place] == data[before + place]
        place += 1
    return is_same
