"""A rate card charges what `Rater` does, for every price and every quantity."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rate_card_cases import MODELS, Q, terms, values

from rating_engine.models.dimensional import Dimensional
from rating_engine.models.model import CardRow
from rating_engine.models.per_unit import PerUnit
from rating_engine.models.table import MODELS as EVERY_MODEL
from rating_engine.rate_card import CardLabel, RateCard, rate_card
from rating_engine.rater import Rater
from rating_engine.terms import ChargeTerms

LABEL = CardLabel("growth", 2, "api_requests", "{}", "USD")
CARD = rate_card(ChargeTerms(PerUnit(10**9), allowance=100 * Q))


def test_every_model_is_asked_about() -> None:
    assert MODELS.keys() == EVERY_MODEL.keys()


@settings(max_examples=600, deadline=None)
@given(terms(), st.data())
def test_a_card_charges_what_its_terms_do(given_terms: ChargeTerms, data: st.DataObject) -> None:
    card, rater = rate_card(given_terms), Rater(given_terms)
    for _ in range(4):
        value = data.draw(values(card))
        used_before = data.draw(st.one_of(st.just(0), st.integers(0, 2 * card.covered)))
        assert card.figures(value) == rater.figures(value)
        assert card.figures(value, used_before) == rater.figures(value, used_before)


@pytest.mark.parametrize("kind", MODELS)
def test_rows_ascend_from_zero(kind: str) -> None:
    @settings(max_examples=50, deadline=None)
    @given(MODELS[kind])
    def ascend(model: object) -> None:
        above = [row.above for row in model.card_rows()]  # type: ignore[attr-defined]
        assert above[0] == 0
        assert above == sorted(set(above))

    ascend()


def test_a_dimensional_price_has_a_card_for_each_group() -> None:
    price = Dimensional(("region",), {("eu",): PerUnit(2)}, PerUnit(3))
    terms_ = ChargeTerms(price)
    assert rate_card(terms_, {"region": "eu"}).rows == (CardRow(0, unit_price=2),)
    assert rate_card(terms_, {"region": "us"}).rows == (CardRow(0, unit_price=3),)
    assert rate_card(terms_).rows == (CardRow(0, unit_price=3),)


@pytest.mark.parametrize("value", [1.0, True, "1", None])
def test_only_whole_numbers_are_taken(value: object) -> None:
    with pytest.raises(TypeError, match="expected int, got"):
        CARD.figures(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "label"),
    [
        (replace(CARD, covered=1), LABEL),
        (replace(CARD, bucket_units=1), LABEL),
        (replace(CARD, base_fee=1), LABEL),
        (replace(CARD, minimum=1), LABEL),
        (replace(CARD, cap=0), LABEL),
        (replace(CARD, at_zero=1), LABEL),
        (replace(CARD, rows=(CardRow(0), CardRow(1))), LABEL),
        (CARD, replace(LABEL, plan="scale")),
        (CARD, replace(LABEL, price_version=3)),
        (CARD, replace(LABEL, meter="seats")),
        (CARD, replace(LABEL, group='{"region":"eu"}')),
        (CARD, replace(LABEL, currency="EUR")),
        (CARD, replace(LABEL, carries_s=86_400)),
        (CARD, replace(LABEL, plan="growth12:api_requests", meter="")),
    ],
)
def test_whatever_differs_has_another_number(card: RateCard, label: CardLabel) -> None:
    assert card.number(label) != CARD.number(LABEL)
    assert 0 < card.number(label) < 2**63


def test_another_process_finds_the_same_number() -> None:
    program = "import test_rate_card as t; print(t.CARD.number(t.LABEL))"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONHASHSEED": "7"},
    ).stdout  # fmt: skip
    assert int(said) == CARD.number(LABEL) == 6582576984123917438
