"""The reconciler's own arithmetic comes to what the engine's does, for every model and rounding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rate_card_cases import C, Q, terms, units

from rating_engine.currency import currency
from rating_engine.money import Rounding, rounded
from rating_engine.proration import Share
from rating_engine.rate_card import RateCard, rate_card
from rating_engine.terms import ChargeTerms
from reconcile.cards import Card, RoundingRule, Tier
from reconcile.decompose import Side, Terms, decompose


def card_of(found: RateCard, *, carries_s: int = 0) -> Card:
    tiers = (
        Tier(row.above, row.charge, row.unit_price, row.package_units, row.package_price)
        for row in found.rows
    )
    share = found.share or Share(0, 1, 1)
    return Card(
        1, "growth", 1, "api", "{}", "USD", carries_s, found.covered, found.base_fee,
        found.minimum, found.cap, found.at_zero, tuple(tiers),
        (share.start, share.end, share.period),
    )  # fmt: skip


@given(terms=terms(), quantity=st.one_of(units, units.map(int.__neg__)), used=units)
def test_a_card_charges_what_the_engine_charges(
    terms: ChargeTerms, quantity: int, used: int
) -> None:
    engine = rate_card(terms)
    assert card_of(engine).charge(quantity) == engine.figures(quantity)[2]
    included, _, charge = engine.figures(quantity, used)
    carried = card_of(engine, carries_s=60)
    assert (carried.included(quantity, used), carried.charge(quantity, used)) == (included, charge)


@given(charge=st.one_of(st.integers(-100 * C, 100 * C), st.integers(-999, 999).map(
    lambda n: n * C // 200)))  # fmt: skip
def test_a_line_is_rounded_as_the_engine_rounds(charge: int) -> None:
    for rounding in Rounding:
        for code in ("USD", "JPY", "KWD"):
            money = rounded(charge, currency(code), rounding=rounding)
            digits = currency(code).minor_digits
            expected = money.minor * 10 ** (12 - digits)
            assert RoundingRule(digits, str(rounding)).rounded(charge) == expected


@given(
    terms=terms(), other=terms(), quantities=st.tuples(units, units),
    amounts=st.tuples(st.integers(-9 * Q, 9 * Q), st.integers(-9 * Q, 9 * Q)),
    version=st.integers(1, 3), late=st.booleans(),
)  # fmt: skip
def test_causes_add_up_to_the_difference_whatever_it_is(
    terms: ChargeTerms, other: ChargeTerms, quantities: tuple[int, int],
    amounts: tuple[int, int], version: int, late: bool,
) -> None:  # fmt: skip
    card, second = card_of(rate_card(terms)), card_of(rate_card(other))
    known = Terms(
        rule=RoundingRule(), card=card, others=[second],
        late_quantities=[quantities[1] - quantities[0]] if late else [],
    )  # fmt: skip
    expected, got = Side(amounts[0], quantities[0], 1), Side(amounts[1], quantities[1], version)
    parts = decompose(expected, got, known)
    assert sum(part.amount for part in parts) == amounts[1] - amounts[0]
    assert len({part.variance for part in parts}) == len(parts)
    if expected == got:
        assert parts == []


def test_a_quantity_at_the_end_of_a_tier_belongs_to_it() -> None:
    """Tiers with a fee of their own are not continuous: the border itself is the earlier one's."""
    tiers = (Tier(0, 5 * C, 0, 0, 0), Tier(100 * Q, 9 * C, 0, 0, 0))
    card = Card(1, "growth", 1, "api", "{}", "USD", 0, 0, 0, 0, None, 0, tiers)
    assert [card.charge(each) for each in (Q, 100 * Q, 100 * Q + 1)] == [5 * C, 5 * C, 9 * C]
