"""Reading prices and terms: every fault is told at once, with its place, expected and got."""

from typing import Any

import pytest

from metering.errors import SettingsInvalid
from rating_engine.exact import ONE_CHARGE, ONE_UNIT
from rating_engine.fields import Fault, Fields
from rating_engine.models.per_unit import PerUnit
from rating_engine.models.table import model_for, price_of
from rating_engine.models.tiers import Tier, borders
from rating_engine.money import Rounding
from rating_engine.terms import CommitBucket, PlanTerms, read_charge, read_plan

PER_UNIT = {"model": "per_unit", "unit_price": "1"}
TIER = {"unit_price": "1"}


def graduated(*tiers: Any) -> dict[str, Any]:
    return {"model": "graduated", "tiers": list(tiers)}


@pytest.mark.parametrize(
    ("price", "faults"),
    [
        ({}, ["model: expected one of per_unit, graduated, volume"]),
        ({"model": "flat"}, ["model: expected one of per_unit"]),
        ({"model": "per_unit"}, ["unit_price: expected decimal text"]),
        ({"model": "per_unit", "unit_price": 0.1}, ["unit_price: expected decimal text"]),
        ({"model": "per_unit", "unit_price": True}, ["unit_price: expected decimal text"]),
        ({"model": "per_unit", "unit_price": "NaN"}, ["unit_price: expected decimal text"]),
        ({"model": "per_unit", "unit_price": "-1"}, ["unit_price: expected 0 or more, got '-1'"]),
        (
            {"model": "per_unit", "unit_price": "0.0000000000001"},
            ["unit_price: expected decimal text"],
        ),
        ({**PER_UNIT, "price": "1"}, ["price: expected one of model, unit_price, got 'price'"]),
        (
            {"model": "percentage", "percent": "0.00000000001"},
            ["percent: expected at most 10 digits behind the point"],
        ),
        (
            {"model": "package", "package_size": "0", "package_price": "1"},
            ["package_size: expected more than 0, got '0'"],
        ),
        ({"model": "package", "package_size": "x"}, ["package_size: ", "package_price: "]),
        (graduated(), ["tiers: expected a list of one or more mappings"]),
        ({"model": "volume", "tiers": "x"}, ["tiers: expected a list of one or more mappings"]),
        (graduated("x"), ["tiers[0]: expected a mapping, got 'x' (str)"]),
        (graduated({**TIER, "up_to": "5"}), ["tiers[0].up_to: expected nothing: the last tier"]),
        (graduated(TIER, TIER), ["tiers[0].up_to: expected a quantity in every tier but"]),
        (
            graduated({**TIER, "up_to": "5"}, {**TIER, "up_to": "5"}, TIER),
            ["tiers[1].up_to: expected more than the tier before"],
        ),
        (
            graduated({**TIER, "up_to": "0"}, TIER),
            ["tiers[0].up_to: expected more than the tier before ends at, and more than 0"],
        ),
        (
            graduated({**TIER, "up_to": "1"}, {**TIER, "flat_fee": "1", "flat_fee_at_zero": True}),
            ["tiers[1].flat_fee_at_zero: expected it only in the first tier"],
        ),
        (graduated({**TIER, "flat_fee_at_zero": True}), ["tiers[0].flat_fee: expected a fee"]),
        (
            graduated({**TIER, "flat_fee": "1", "flat_fee_at_zero": "yes"}),
            ["tiers[0].flat_fee_at_zero: expected true or false"],
        ),
        (
            {"model": "stairstep", "tiers": [{"unit_price": "1"}]},
            ["tiers[0].unit_price: expected one of", "tiers[0].flat_fee: expected decimal text"],
        ),
        # all at once
        (
            graduated({"unit_price": "x", "up_to": "9"}, {"unit_price": 0.5, "up_to": "3"}, {}),
            [
                "tiers[0].unit_price: ",
                "tiers[1].unit_price: ",
                "tiers[2].unit_price: ",
                "tiers[1].up_to: ",
            ],
        ),
        (
            {"model": "dimensional"},
            ["dimensions: expected a list", "prices: expected a list", "default: expected a mapp"],
        ),
        (
            {
                "model": "dimensional",
                "dimensions": ["region"],
                "prices": [
                    {"values": {"region": "eu"}, "price": PER_UNIT},
                    {"values": {"region": "eu"}, "price": {"model": "per_unit"}},
                    {"values": {"zone": "eu"}, "price": {"model": "dimensional"}},
                ],
                "default": {"model": "per_unit", "unit_price": "x"},
            },
            [
                "prices[1].price.unit_price: ",
                "prices[1].values: expected a combination that is not taken",
                "prices[2].values.zone: expected one of region, got 'zone'",
                "prices[2].values.region: expected text",
                "prices[2].price.model: expected one of per_unit",
                "default.unit_price: ",
            ],
        ),
    ],
)
def test_faults_of_a_price_are_told_with_their_place(
    price: dict[str, Any], faults: list[str]
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        price_of(price)
    assert len(caught.value.faults) == len(faults)
    for got, expected in zip(caught.value.faults, faults, strict=True):
        assert got.startswith(expected)
        assert ", got " in got


def charge(**values: Any) -> tuple[Any, list[str]]:
    faults: list[Fault] = []
    terms = read_charge(Fields(values, faults, ("charges", 0)))
    return terms, [str(fault) for fault in faults]


def test_a_charge_is_compiled() -> None:
    terms, faults = charge(
        meter="m",
        allowance="100",
        commit={"units": "1000", "base_fee": "50"},
        minimum="5",
        cap=500,
        price=PER_UNIT,
    )
    assert faults == []
    assert terms.price == PerUnit(10**12)
    assert (terms.allowance, terms.covered) == (100 * ONE_UNIT, 1100 * ONE_UNIT)
    assert terms.bucket == CommitBucket(1000 * ONE_UNIT, 50 * ONE_CHARGE)
    assert (terms.minimum, terms.cap) == (5 * ONE_CHARGE, 500 * ONE_CHARGE)


def test_a_base_fee_without_units_covers_the_allowance() -> None:
    terms, faults = charge(allowance="100", commit={"base_fee": "50"}, price=PER_UNIT)
    assert faults == []
    assert (terms.allowance, terms.bucket) == (0, CommitBucket(100 * ONE_UNIT, 50 * ONE_CHARGE))


def test_faults_of_a_charge_are_told_at_once() -> None:
    _, faults = charge(commit={}, minimum="10", cap="9", price=None, allowence="1")
    assert [fault.split(":")[0] for fault in faults] == [
        "charges[0].allowence",
        "charges[0].commit.base_fee",
        "charges[0].commit.units",
        "charges[0].cap",
        "charges[0].price",
    ]


def test_a_plan_is_compiled() -> None:
    faults: list[Fault] = []
    fields = Fields({"base_fee": "20", "commit": "1000", "rounding": "half_up"}, faults)
    plan = read_plan(fields, currency_code="JPY", prorate_allowance=True)
    assert faults == []
    assert plan == PlanTerms(
        plan.currency, 20 * ONE_CHARGE, 1000 * ONE_CHARGE, Rounding.HALF_UP, prorate_allowance=True
    )
    assert plan.currency.minor_digits == 0


def test_faults_of_a_plan_are_told_at_once() -> None:
    faults: list[Fault] = []
    fields = Fields({"base_fee": 0.5, "commit": "-1", "rounding": "up"}, faults)
    read_plan(fields, currency_code="usd", prorate_allowance=False)
    assert sorted(fault.path[0] for fault in faults) == [
        "base_fee",
        "commit",
        "currency",
        "rounding",
    ]


@pytest.mark.parametrize(
    "tiers",
    [
        (),
        (Tier(5),),
        (Tier(None), Tier(None)),
        (Tier(5), Tier(5), Tier(None)),
        (Tier(0), Tier(None)),
        (Tier(None), Tier(5)),
    ],
)
def test_tiers_that_do_not_follow_each_other_are_refused(tiers: tuple[Tier, ...]) -> None:
    with pytest.raises(ValueError, match="expected ascending up_to"):
        borders(tiers)


def test_a_flat_fee_is_due_on_entering_and_at_zero_only_where_it_says_so() -> None:
    first = {"up_to": "10", "unit_price": "0", "flat_fee": "3"}
    second = {"unit_price": "0", "flat_fee": "4"}
    for model, entered in (("graduated", 7), ("volume", 4)):
        for at_zero in (False, True):
            tiers = [{**first, "flat_fee_at_zero": at_zero}, second]
            price = model_for(price_of({"model": model, "tiers": tiers}), {})
            due = [price.charge(units) for units in (0, 1, 10 * ONE_UNIT, 10 * ONE_UNIT + 1)]
            assert due == [each * ONE_CHARGE for each in (3 * at_zero, 3, 3, entered)]
