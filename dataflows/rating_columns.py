"""Charges of the events of a batch, in compiled code; and words as whole numbers."""

import numpy as np
from numpy.typing import NDArray

from dataflows.ledger_columns import RATED_WORDS, Units, Words
from dataflows.rate_cards import rate_difference
from metering.compiled import compiled

_NARROW_BYTES = 24


@compiled
def rate_rows(
    cards: Words, card_rows: Words, card_of: NDArray[np.int32], units: Units,
    numbers: NDArray[np.int32], before: Words, after: Words, used: Words,
    cells: NDArray[np.int32], charges: Words, included: Words, overage: Words, charge: Words,
    own: NDArray[np.int32], left: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Rate rows whose units are `numbers`, and add up what their cells are charged.

    `used` (n x 2) are included units that earlier parts have used. `included`, `overage` and
    `charge` (n x 4) are filled, `own` with the number of each one's card. `left` says on entry
    which rows not to rate here, and then which are left, of which all is 0 so far.
    """
    words = np.zeros(RATED_WORDS, np.uint64)
    for at in range(len(numbers)):
        if cells[at] < 0 or units[numbers[at]].price < 0:
            left[at] = False
            continue
        card = units[numbers[at]].price
        own[at] = card
        if left[at] or not rate_difference(
            cards, card_rows, card_of[card], before[at, 0], before[at, 1], np.int64(before[at, 2]),
            after[at, 0], after[at, 1], np.int64(after[at, 2]), used[at, 0], used[at, 1], words,
        ):  # fmt: skip
            left[at] = True
            continue
        for word in range(3):
            included[at, word] = words[word]
            overage[at, word] = words[3 + word]
            charge[at, word] = words[6 + word]
        included[at, 3] = np.uint64(np.int64(words[2]) >> 63)
        overage[at, 3] = np.uint64(np.int64(words[5]) >> 63)
        charge[at, 3] = np.uint64(np.int64(words[8]) >> 63)
        _add(charges, RATED_WORDS * np.int64(cells[at]), words)


@compiled
def _add(charges: Words, first: int, words: Words) -> None:
    for number in range(3):
        carry = np.uint64(0)
        for word in range(3 * number, 3 * number + 3):
            total = charges[first + word] + words[word]
            further = np.uint64(total < words[word])
            total += carry
            further += np.uint64(total < carry)
            charges[first + word] = total
            carry = further


@compiled
def add_rows(
    charges: Words, cells: NDArray[np.int32], rows: NDArray[np.int64], included: Words,
    overage: Words, charge: Words,
) -> None:  # fmt: skip
    """Add up what the cells of some rows are charged."""
    words = np.zeros(RATED_WORDS, np.uint64)
    for row in rows:
        for word in range(3):
            words[word] = included[row, word]
            words[3 + word] = overage[row, word]
            words[6 + word] = charge[row, word]
        _add(charges, RATED_WORDS * np.int64(cells[row]), words)


def numbers_of(words: Words) -> list[int]:
    """The number that three words are (or four, of which the last repeats the sign)."""
    data = np.ascontiguousarray(words[:, :3]).tobytes()
    return [
        int.from_bytes(data[at : at + _NARROW_BYTES], "little", signed=True)
        for at in range(0, len(data), _NARROW_BYTES)
    ]
