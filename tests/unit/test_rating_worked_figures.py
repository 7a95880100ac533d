"""Worked figures of usage events and invoice lines: allowance, overage, charges, credits."""

from itertools import pairwise
from typing import Any

import pytest

from metering.quantity import units
from rating_engine.currency import currency
from rating_engine.exact import ONE_CHARGE, charge_text, quantity_text
from rating_engine.fields import Fault, Fields
from rating_engine.models.table import price_of
from rating_engine.money import Rounding, rounded
from rating_engine.rater import Rater
from rating_engine.terms import ChargeTerms, read_charge


def q(text: str) -> int:
    read = units(text)
    assert isinstance(read, int)
    return read


def rater(**values: Any) -> Rater:
    """A charge as it stands in a plan."""
    faults: list[Fault] = []
    terms = read_charge(Fields({"meter": "m", **values}, faults))
    assert faults == []
    return Rater(terms)


GROWTH = {"allowance": "250000", "price": {"model": "per_unit", "unit_price": "0.001"}}
VERSION_1 = {"allowance": "100000", "price": {"model": "per_unit", "unit_price": "0.001"}}
VERSION_2 = {"allowance": "250000", "price": {"model": "per_unit", "unit_price": "0.0008"}}
STARTER = {"allowance": "10000", "price": {"model": "per_unit", "unit_price": "0.001"}}
STORAGE = {
    "price": {
        "model": "graduated",
        "tiers": [
            {"up_to": "100", "unit_price": "0"},
            {"up_to": "1000", "unit_price": "0.10", "flat_fee": "5"},
            {"unit_price": "0.05"},
        ],
    }
}


def test_an_event_across_the_allowance_is_half_included() -> None:
    """Allowance 250 000, consumed 249 500, event 1 000: 500 included, 500 overage, 0.50."""
    event = rater(**GROWTH).rate_event(q("249500"), q("250500"))
    assert (quantity_text(event.included), quantity_text(event.overage)) == ("500", "500")
    assert str(rounded(event.charge, currency("USD"), rounding=Rounding.HALF_EVEN)) == "0.50"


@pytest.mark.parametrize(
    ("terms", "usage", "included", "overage", "charge"),
    [
        (GROWTH, "262500", "250000", "12500", "12.50"),
        (GROWTH, "250500", "250000", "500", "0.50"),
        (GROWTH, "250000", "250000", "0", "0.00"),
        (VERSION_1, "262500", "100000", "162500", "162.50"),
        (VERSION_2, "262500", "250000", "12500", "10.00"),
        (STARTER, "10000", "10000", "0", "0.00"),
        (STARTER, "10001", "10000", "1", "0.00"),
        (STARTER, "11000", "10000", "1000", "1.00"),
        (STORAGE, "100", "0", "100", "0.00"),
        (STORAGE, "101", "0", "101", "5.10"),
        (STORAGE, "1000", "0", "1000", "95.00"),
        (STORAGE, "2000", "0", "2000", "145.00"),
    ],
)
def test_a_period_is_charged(
    terms: dict[str, Any], usage: str, included: str, overage: str, charge: str
) -> None:
    got = rater(**terms).rate(q(usage))
    assert quantity_text(got.included) == included
    assert quantity_text(got.overage) == overage
    assert str(rounded(got.charge, currency("USD"), rounding=Rounding.HALF_EVEN)) == charge


UNIT_PRICES = {
    "agent_minutes": "0.018",
    "seat_hours": "0.48",
    "requests": "0.0008",
    "gb_month": "0.45",
    "runs": "0.05",
}


@pytest.mark.parametrize(
    ("meter", "quantity", "compared_with", "impact"),
    [
        # the whole quantity
        ("agent_minutes", 18420, 0, "331.56"),
        ("requests", 928000, 0, "742.40"),
        ("seat_hours", 3310, 0, "1588.80"),
        ("runs", 58800, 0, "2940.00"),
        ("runs", 37600, 0, "1880.00"),
        # what differs from the expected quantity, in both directions
        ("gb_month", 890, 640, "112.50"),
        ("runs", 42100, 46300, "-210.00"),
        ("requests", 221000, 318000, "-77.60"),
        ("gb_month", 4120, 3980, "63.00"),
        ("agent_minutes", 6420, 9900, "-62.64"),
        ("requests", 1820000, 1660000, "128.00"),
        ("gb_month", 2100, 2600, "-225.00"),
    ],
)
def test_the_impact_of_a_usage_event(
    meter: str, quantity: int, compared_with: int, impact: str
) -> None:
    engine = rater(price={"model": "per_unit", "unit_price": UNIT_PRICES[meter]})
    difference = engine.rate_event(q(str(compared_with)), q(str(quantity))).charge
    assert str(rounded(difference, currency("GBP"), rounding=Rounding.HALF_EVEN)) == impact


def test_volume_and_graduated_give_different_totals_for_the_same_tiers() -> None:
    tiers = [{"up_to": "100", "unit_price": "1"}, {"unit_price": "0.5"}]
    totals = [
        charge_text(rater(price={"model": model, "tiers": tiers}).rate(q("150")).charge)
        for model in ("graduated", "volume")
    ]
    assert totals == ["125", "75"]


def test_overage_is_billed_above_the_commit_and_buffer_is_paid_for_and_unused() -> None:
    bucket = {"units": "1000", "base_fee": "500"}
    engine = rater(commit=bucket, price={"model": "per_unit", "unit_price": "0.75"})
    over = engine.commit_use(q("1200"))
    under = engine.commit_use(q("600"))
    assert over is not None
    assert under is not None
    assert (quantity_text(over.overage_units), charge_text(over.overage)) == ("200", "150")
    assert (over.used, over.buffer_units, over.buffer) == (q("1000"), 0, 0)
    assert (quantity_text(under.buffer_units), charge_text(under.buffer)) == ("400", "200")
    assert (under.overage_units, under.overage) == (0, 0)


def test_late_usage_that_crosses_a_tier_costs_the_difference_to_rating_all_of_it() -> None:
    tiers = [{"up_to": "1000", "unit_price": "0.10"}, {"unit_price": "0.05"}]
    for model, late in (("graduated", "15"), ("volume", "-35")):
        engine = rater(price={"model": model, "tiers": tiers})
        billed, whole = engine.rate(q("900")), engine.rate(q("1100"))
        assert charge_text(whole.since(billed).charge) == late
        assert engine.rate_event(q("1100"), q("900")).charge == -whole.since(billed).charge


def test_a_tenth_three_times_is_three_tenths() -> None:
    engine = rater(price={"model": "per_unit", "unit_price": "0.1"})
    values = [q(text) for text in ("0", "0.1", "0.2", "0.3")]
    charged = [engine.rate_event(*pair).charge for pair in pairwise(values)]
    assert charge_text(sum(charged)) == "0.03"
    assert len(set(charged)) == 1


@pytest.mark.parametrize(
    ("usage", "unit_price", "charge"),
    [
        ("1000000000000000000", "0.000000000001", "1000000"),
        ("1000000000000000000.000000000001", "1", "1000000000000000000.000000000001"),
        (  # 10^26 - 10^6 - 10^-4 + 10^-24
            "999999999999999999.999999999999",
            "99999999.999999999999",
            "99999999999999999998999999.999900000000000000000001",
        ),
        ("0.000000000001", "0.000000000001", "0.000000000000000000000001"),
    ],
)
def test_large_and_small_survive_exactly(usage: str, unit_price: str, charge: str) -> None:
    engine = rater(price={"model": "per_unit", "unit_price": unit_price})
    assert charge_text(engine.rate(q(usage)).charge) == charge


def test_every_group_is_priced_by_its_values_or_by_the_default() -> None:
    price = price_of(
        {
            "model": "dimensional",
            "dimensions": ["region", "size"],
            "prices": [
                {
                    "values": {"region": "eu", "size": "l"},
                    "price": {"model": "per_unit", "unit_price": "0.2"},
                },
                {
                    "values": {"region": "us", "size": "l"},
                    "price": {"model": "package", "package_size": "10", "package_price": "1"},
                },
            ],
            "default": {"model": "per_unit", "unit_price": "0.3"},
        }
    )
    for group, charge in (
        ({"region": "eu", "size": "l"}, "3"),
        ({"size": "l", "region": "us", "other": "x"}, "2"),
        ({"region": "eu", "size": "s"}, "4.5"),
        ({"region": "eu"}, "4.5"),
        ({}, "4.5"),
    ):
        assert charge_text(Rater(ChargeTerms(price), group).rate(q("15")).charge) == charge


def test_steps_explain_a_charge() -> None:
    engine = rater(**{**STORAGE, "allowance": "50", "minimum": "20", "cap": "90"})
    steps = [(str(step.kind), step.tier, charge_text(step.amount)) for step in engine.steps(0)]
    assert steps == [("minimum", None, "20")]
    steps = [
        (str(step.kind), step.tier, charge_text(step.amount)) for step in engine.steps(q("1050"))
    ]
    assert steps == [
        ("included", None, "0"),
        ("units", 1, "0"),
        ("units", 2, "90"),
        ("flat_fee", 2, "5"),
        ("cap", None, "-5"),
    ]
    assert engine.rate(q("1050")).charge == 90 * ONE_CHARGE
