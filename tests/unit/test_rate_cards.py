"""Compiled code charges what a rate card does, or says that it cannot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rate_card_cases import C, Q, amounts, terms, units, values

from dataflows.rate_cards import UNITS_END, CardTable, figures, rate_difference
from dataflows.wide_words import quotient
from metering.compiled import compiled
from rating_engine.models.model import CardRow
from rating_engine.models.tiers import Tier
from rating_engine.models.volume import Volume
from rating_engine.rate_card import RateCard, rate_card
from rating_engine.terms import ChargeTerms

_WORD = (1 << 64) - 1
Words = tuple[Any, Any, Any]


def words(number: int) -> Words:
    middle = np.uint64(number >> 64 & _WORD)
    return np.uint64(number & _WORD), middle, np.int64(number >> 128)


def numbers(out: Sequence[int]) -> tuple[int, ...]:
    found = []
    for at in (0, 3, 6):
        low, middle, high = (int(word) for word in out[at : at + 3])
        number = low | middle << 64 | high << 128
        found.append(number - (1 << 192) if number >> 191 else number)
    return tuple(found)


def rated(table: CardTable, card: int, value: int) -> tuple[int, ...] | None:
    out = np.zeros(9, np.uint64)
    is_sure = figures(table.cards, table.rows, card, *words(value), out)
    return numbers(out.tolist()) if is_sure else None


#: Any rows at all, also what no model makes.
rows = st.lists(
    st.builds(
        CardRow, units.filter(bool), amounts, st.integers(0, 2**63), units,
        st.one_of(amounts, st.integers(0, 2**60)),
    ),
    max_size=6,
    unique_by=lambda row: row.above,
).map(lambda found: tuple(sorted(found)))  # fmt: skip
cards = st.one_of(
    terms().map(rate_card),
    st.builds(
        RateCard, units, units, amounts, amounts, st.one_of(st.none(), amounts), amounts,
        st.builds(
            lambda first, others: (first, *others),
            st.builds(CardRow, st.just(0), amounts, st.integers(0, 2**63), units, amounts),
            rows,
        ),
    ),
)  # fmt: skip
#: Far beyond what usage comes to, up to where nothing is sure.
far = st.one_of(st.integers(0, UNITS_END - 1), st.integers(-UNITS_END, 0))


@settings(max_examples=300, deadline=None)
@given(st.lists(cards, min_size=1, max_size=3), st.data())
def test_compiled_code_charges_what_the_card_does(
    given_cards: list[RateCard], data: st.DataObject
) -> None:
    table = CardTable()
    for card in given_cards:
        at = table.add(card)
        for _ in range(4):
            value = data.draw(st.one_of(values(card), far))
            found = rated(table, at, value)
            assert found in (None, card.figures(value))
            if value < 10**18 * Q and max(row.unit_price for row in card.rows) < 2**62:
                dear = any(row.package_price > row.package_units << 40 for row in card.rows)
                assert dear or card.share is not None or found is not None


@settings(max_examples=300, deadline=None)
@given(cards, st.data())
def test_a_difference_is_that_of_the_figures(card: RateCard, data: st.DataObject) -> None:
    table = CardTable()
    at = table.add(card)
    before, after = data.draw(values(card)), data.draw(values(card))
    used = data.draw(st.one_of(st.just(0), values(card).map(abs), st.integers(0, 2**128 - 1)))
    out = np.zeros(9, np.uint64)
    if rate_difference(
        table.cards, table.rows, at, *words(before), *words(after), *words(used)[:2], out
    ):
        pairs = zip(card.figures(after, used), card.figures(before, used), strict=True)
        assert numbers(out.tolist()) == tuple(new - old for new, old in pairs)
    else:
        assert None in (rated(table, at, before), rated(table, at, after))


@pytest.mark.parametrize(
    ("value", "is_sure"),
    [(UNITS_END - 1, True), (UNITS_END, False), (-(2**130), True), (2**128, False)],
)
def test_a_quantity_that_may_not_fit_is_left_to_the_card(value: int, *, is_sure: bool) -> None:
    table = CardTable()
    plain = RateCard(5 * Q, 0, 0, 0, None, 0, (CardRow(0, unit_price=10**9),))
    found = rated(table, table.add(plain), value)
    assert found == (plain.figures(value) if is_sure else None)


@pytest.mark.parametrize(
    "card",
    [
        RateCard(UNITS_END, 0, 0, 0, None, 0, (CardRow(0),)),
        RateCard(-1, 0, 0, 0, None, 0, (CardRow(0),)),
        RateCard(0, 0, 2**190, 0, None, 0, (CardRow(0),)),
        RateCard(0, 0, 0, -1, 5, 0, (CardRow(0),)),
        RateCard(0, 0, 0, 0, -1, 0, (CardRow(0),)),
        RateCard(0, 0, 0, 0, None, 0, (CardRow(0, -1),)),
        RateCard(0, 0, 0, 0, None, 0, (CardRow(0, 0, 2**64),)),
        RateCard(0, 0, 0, 0, None, 0, (CardRow(0, 0, 0, UNITS_END, 1),)),
        RateCard(0, 0, 0, 0, None, 0, (CardRow(0, 0, 0, 1, 2**64),)),
        RateCard(0, 0, 0, 0, None, 0, (CardRow(0), CardRow(UNITS_END))),
    ],
)
def test_a_card_that_may_not_fit_is_left_to_itself(card: RateCard) -> None:
    table = CardTable()
    assert rated(table, table.add(card), 1) is None


def test_cards_that_charge_the_same_are_one_and_tables_grow() -> None:
    table = CardTable()
    tiers = tuple(Tier(n * Q, 1, n * C) for n in range(1, 6))
    made = [
        rate_card(ChargeTerms(Volume((*tiers, Tier(None, number)))))
        for number in range(1000)
    ]  # fmt: skip
    assert [table.add(card) for card in made] == list(range(1000))
    assert [table.add(rate_card(ChargeTerms(Volume((*tiers, Tier(None, 7))))))] == [7]
    assert len(table) == 1000
    for at in (0, 7, 63, 64, 999):
        assert rated(table, at, 20 * Q) == made[at].figures(20 * Q)


@compiled
def _divide(low: np.uint64, high: np.uint64, other: np.uint64, above: np.uint64) -> Any:
    return quotient(low, high, other, above)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**127 - 1), st.integers(0, 126), st.integers(1, 2**127 - 1))
def test_division_is_exact(number: int, shift: int, other: int) -> None:
    divisor = (other >> shift) or 1
    low, high = _divide(*words(number)[:2], *words(divisor)[:2])
    assert int(low) | int(high) << 64 == number // divisor
