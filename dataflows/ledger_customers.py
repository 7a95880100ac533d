"""Texts of customers as numbers: each is held once. Compiled, as `ledger_columns` is."""

import numpy as np
from numpy.typing import NDArray

from metering.compiled import compiled

_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@compiled
def hash_texts(data: NDArray[np.uint8], ends: NDArray[np.int32]) -> NDArray[np.uint64]:
    """A hash of each text between two of `ends`."""
    hashes = np.empty(len(ends) - 1, np.uint64)
    for row in range(len(ends) - 1):
        word = _BASIS
        for place in range(ends[row], ends[row + 1]):
            word = (word ^ np.uint64(data[place])) * _PRIME
        hashes[row] = word ^ (word >> np.uint64(32))
    return hashes


@compiled
def number_customers(
    data: NDArray[np.uint8], ends: NDArray[np.int32], hashes: NDArray[np.uint64],
    slots: NDArray[np.int32],
    texts: NDArray[np.uint8], places: NDArray[np.int64], count: int, numbers: NDArray[np.int32],
) -> int:  # fmt: skip
    """Find the number of each text in `slots`, or give it the next; returns how many there are.

    Number n's text is `texts[places[n] : places[n + 1]]`.
    """
    mask = len(slots) - 1
    for row in range(len(hashes)):
        start = ends[row]
        size = ends[row + 1] - start
        slot = np.int64(hashes[row] & np.uint64(mask))
        while slots[slot] >= 0:
            at = places[slots[slot]]
            is_same = places[slots[slot] + 1] - at == size
            place = 0
            while is_same and place < size:
                is_same = texts[at + place] == data[start + place]
                place += 1
            if is_same:
                break
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            at = places[count]
            for place in range(size):
                texts[at + place] = data[start + place]
            places[count + 1] = at + size
            slots[slot] = count
            count += 1
        numbers[row] = slots[slot]
    return count


@compiled
def place_customers(hashes: NDArray[np.uint64], slots: NDArray[np.int32]) -> None:
    """Put all customers, which are distinct, into empty `slots`."""
    mask = len(slots) - 1
    for number in range(len(hashes)):
        slot = np.int64(hashes[number] & np.uint64(mask))
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = number
