"""Rate cards as arrays, and the compiled functions that charge by them, for every event.

Quantities and charges come and go as three words of a whole number, two's complement, as in the
ledger. What a card's numbers or a quantity are too great for, is not charged here: the functions
say so, and the caller asks the card itself (`CardTable.every`).
"""

import numpy as np
from numpy.typing import NDArray

from dataflows.wide_words import (
    is_less,
    minus,
    plus,
    product,
    product_of_two,
    quotient,
)
from metering.compiled import compiled, inlined
from rating_engine.models.model import CardRow
from rating_engine.rate_card import RateCard

Words = NDArray[np.uint64]

#: Quantities below it (10^-12 units) are charged here.
UNITS_END = 2**126
#: Charges that are worked out here stay below it, so that their differences fit.
_CHARGE_END = 2**190
_WORD = (1 << 64) - 1
_MIDDLE_END = np.uint64(UNITS_END >> 64)
_FIRST_CAPACITY = 64

#: Where a card's words begin; `_STANDING` is what a quantity of zero is charged.
_COVERED, _STANDING, _MINIMUM, _CAP = 0, 2, 5, 8
_FIRST, _LAST, _IS_SURE, _IS_BOUNDED, _CARD_WORDS = 11, 12, 13, 14, 15
#: Where a row's words begin; `_CHARGE` includes the base fee.
_ABOVE, _CHARGE, _UNIT_PRICE, _PACKAGE_UNITS, _PACKAGE_PRICE, _ROW_WORDS = 0, 2, 5, 6, 8, 10
_ZERO, _ONE = np.uint64(0), np.uint64(1)

Figures = tuple[
    bool, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64
]  # fmt: skip


class CardTable:
    """The cards that a worker charges by; numbers hold for its life.

    `cards` and `rows` are what the compiled functions take first, in this order. They are other
    arrays after an `add`: whoever holds them asks again.
    """

    def __init__(self) -> None:
        """Empty."""
        self.every: list[RateCard] = []
        self.cards: Words = np.zeros((_FIRST_CAPACITY, _CARD_WORDS), np.uint64)
        self.rows: Words = np.zeros((_FIRST_CAPACITY, _ROW_WORDS), np.uint64)
        self._numbers: dict[RateCard, int] = {}
        self._rows_held = 0

    def __len__(self) -> int:
        """Number of cards."""
        return len(self.every)

    def add(self, card: RateCard) -> int:
        """Number of a card; one that charges the same as one before has the same."""
        number = self._numbers.get(card)
        if number is not None:
            return number
        number = self._numbers[card] = len(self.every)
        self.every.append(card)
        self.cards = _with_room(self.cards, number + 1)
        if not _is_sure(card):
            return number  # its words say that nothing is sure
        first, end = self._rows_held, self._rows_held + len(card.rows)
        self.rows = _with_room(self.rows, end)
        self._rows_held = end
        for at, row in enumerate(card.rows, first):
            self.rows[at] = _row_words(row, card.base_fee)
        self.cards[number] = [
            *_words(card.covered, 2),
            *_words(card.bounded(card.at_zero + card.base_fee), 3),
            *_words(card.minimum, 3),
            *_words(_CHARGE_END if card.cap is None else card.cap, 3),
            *(first, end - 1, 1, card.minimum > 0 or card.cap is not None),
        ]
        return number


@compiled
def figures(
    cards: Words, rows: Words, card: int, low: np.uint64, middle: np.uint64, high: int, out: Words
) -> bool:
    """Included, overage (10^-12 units) and charge (10^-24) of a quantity: nine words into `out`.

    False, and nothing in `out`, where that is not sure: ask `RateCard.figures`.
    """
    is_sure, included, included_1, overage, overage_1, charge, charge_1, charge_2 = _figures(
        cards, rows, card, low, middle, high, _ZERO, _ZERO
    )
    if not is_sure:
        return False
    out[0], out[1], out[2] = included, included_1, _ZERO
    out[3], out[4], out[5] = overage, overage_1, _ZERO
    out[6], out[7], out[8] = charge, charge_1, charge_2
    return True


@compiled
def rate_difference(
    cards: Words, rows: Words, card: int, before: np.uint64, before_middle: np.uint64,
    before_high: int, after: np.uint64, after_middle: np.uint64, after_high: int,
    used: np.uint64, used_middle: np.uint64, out: Words,
) -> bool:  # fmt: skip
    """What the step from one quantity to another adds to included, overage and charge.

    `used` are included units that earlier parts of the period have used (two words). Nine words
    into `out`. False, and nothing in `out`, where that is not sure.
    """
    was_sure, was, was_1, over, over_1, cost, cost_1, cost_2 = _figures(
        cards, rows, card, before, before_middle, before_high, used, used_middle
    )
    is_sure, included, included_1, overage, overage_1, charge, charge_1, charge_2 = _figures(
        cards, rows, card, after, after_middle, after_high, used, used_middle
    )
    if not (was_sure and is_sure):
        return False
    out[0], out[1], out[2] = minus(included, included_1, _ZERO, was, was_1, _ZERO)
    out[3], out[4], out[5] = minus(overage, overage_1, _ZERO, over, over_1, _ZERO)
    out[6], out[7], out[8] = minus(charge, charge_1, charge_2, cost, cost_1, cost_2)
    return True


@inlined
def _figures(
    cards: Words, rows: Words, card: int, low: np.uint64, middle: np.uint64, high: int,
    used: np.uint64, used_1: np.uint64,
) -> Figures:  # fmt: skip
    """Whether it is sure, included (two words), overage (two) and charge (three)."""
    if cards[card, _IS_SURE] == _ZERO or high > 0 or (high == 0 and middle >= _MIDDLE_END):
        return False, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    covered, covered_1 = cards[card, _COVERED], cards[card, _COVERED + 1]
    if used_1 > covered_1 or (used_1 == covered_1 and used >= covered):
        covered = covered_1 = _ZERO
    else:
        covered, covered_1 = covered - used, covered_1 - used_1 - np.uint64(covered < used)
    if high < 0:
        low = middle = _ZERO
    if middle < covered_1 or (middle == covered_1 and low <= covered):
        cost, cost_1, cost_2 = (
            cards[card, _STANDING],
            cards[card, _STANDING + 1],
            cards[card, _STANDING + 2],
        )
        return True, low, middle, _ZERO, _ZERO, cost, cost_1, cost_2
    over, over_1 = low - covered, middle - covered_1 - np.uint64(low < covered)
    first, last = np.int64(cards[card, _FIRST]), np.int64(cards[card, _LAST])
    while first < last:
        at = (first + last + 1) >> 1
        above, above_1 = rows[at, _ABOVE], rows[at, _ABOVE + 1]
        if above_1 < over_1 or (above_1 == over_1 and above < over):
            first = at
        else:
            last = at - 1
    beyond = over - rows[first, _ABOVE]
    beyond_1 = over_1 - rows[first, _ABOVE + 1] - np.uint64(over < rows[first, _ABOVE])
    cost, cost_1, cost_2 = rows[first, _CHARGE], rows[first, _CHARGE + 1], rows[first, _CHARGE + 2]
    if rows[first, _UNIT_PRICE] != _ZERO:
        more, more_1, more_2 = product(beyond, beyond_1, rows[first, _UNIT_PRICE])
        cost, cost_1, cost_2 = plus(cost, cost_1, cost_2, more, more_1, more_2)
    size, size_1 = rows[first, _PACKAGE_UNITS], rows[first, _PACKAGE_UNITS + 1]
    if size != _ZERO or size_1 != _ZERO:
        full, full_1 = quotient(beyond - _ONE, beyond_1 - np.uint64(beyond == _ZERO), size, size_1)
        started = full + _ONE
        price, price_1 = rows[first, _PACKAGE_PRICE], rows[first, _PACKAGE_PRICE + 1]
        more, more_1, more_2 = product_of_two(
            started, full_1 + np.uint64(started == _ZERO), price, price_1
        )
        cost, cost_1, cost_2 = plus(cost, cost_1, cost_2, more, more_1, more_2)
    if cards[card, _IS_BOUNDED] != _ZERO:
        least, least_1, least_2 = (
            cards[card, _MINIMUM],
            cards[card, _MINIMUM + 1],
            cards[card, _MINIMUM + 2],
        )
        most, most_1, most_2 = cards[card, _CAP], cards[card, _CAP + 1], cards[card, _CAP + 2]
        if is_less(cost, cost_1, cost_2, least, least_1, least_2):
            cost, cost_1, cost_2 = least, least_1, least_2
        if is_less(most, most_1, most_2, cost, cost_1, cost_2):
            cost, cost_1, cost_2 = most, most_1, most_2
    return True, covered, covered_1, over, over_1, cost, cost_1, cost_2


def _is_sure(card: RateCard) -> bool:
    """Whether whatever a quantity below `UNITS_END` is charged fits, and is never negative."""
    ends = [*(row.above for row in card.rows[1:]), UNITS_END]
    amounts = (card.base_fee, card.minimum, card.cap or 0, card.at_zero)
    units = (card.covered, *(row.above for row in card.rows))
    greatest = [
        row.charge
        + row.unit_price * (end - row.above)
        - (row.package_price * ((row.above - end) // row.package_units) if row.package_units else 0)
        for row, end in zip(card.rows, ends, strict=True)
    ]
    return (
        card.share is None
        and all(min(row) >= 0 and row.unit_price <= _WORD for row in card.rows)
        and all(row.package_units < UNITS_END > row.package_price for row in card.rows)
        and all(0 <= each < UNITS_END for each in units)
        and all(0 <= each < _CHARGE_END for each in amounts)
        and all(each + card.base_fee + card.at_zero < _CHARGE_END for each in greatest)
    )


def _row_words(row: CardRow, base_fee: int) -> list[int]:
    return [
        *_words(row.above, 2),
        *_words(row.charge + base_fee, 3),
        *_words(row.unit_price, 1),
        *_words(row.package_units, 2),
        *_words(row.package_price, 2),
    ]


def _words(number: int, count: int) -> list[int]:
    return [number >> (64 * word) & _WORD for word in range(count)]


def _with_room(words: Words, count: int) -> Words:
    """`words` with room for `count` rows, at least doubled where it grows."""
    if count <= len(words):
        return words
    grown = np.zeros((max(count, 2 * len(words)), words.shape[1]), np.uint64)
    grown[: len(words)] = words
    return grown
