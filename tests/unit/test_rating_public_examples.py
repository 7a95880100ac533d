"""Worked examples that other billing systems publish, to the cent.

Columns: price, usage, the amounts of the expected lines (which add up to the documented total), and
where it is documented.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from metering.quantity import units
from rating_engine.bill import LineKind, bill
from rating_engine.currency import currency
from rating_engine.exact import ONE_CHARGE, charge_text
from rating_engine.models.table import model_for, price_of
from rating_engine.period_rater import Span
from rating_engine.rater import Rater
from rating_engine.terms import ChargeTerms, PlanTerms

USD = currency("USD")
STRIPE = "https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing"
RECURLY = "https://docs.recurly.com/recurly-subscriptions/docs/quantity-based-pricing"
RECURLY_STAIRS = (
    "https://docs.recurly.com/recurly-subscriptions/docs/-tiered-stairstep-and-volume-pricing"
)
LAGO = "https://getlago.com/docs/guide/plans/charges/charge-models/"
LAGO_MINIMUM = "https://getlago.com/docs/guide/plans/charges/spending-minimum"
LAGO_COMMITMENT = "https://getlago.com/docs/guide/lago-cloud/contract-billing"
CHARGEBEE = "https://www.chargebee.com/docs/billing/2.0/product-catalog/package-pricing"
ORB = "https://docs.withorb.com/product-catalog/price-configuration"
ZUPLO = "https://zuplo.com/docs/articles/monetization/pricing-models"
AUTUMN = "https://docs.useautumn.com/documentation/modelling-pricing/graduated-pricing"
AUTUMN_PRORATION = "https://docs.useautumn.com/documentation/modelling-pricing/proration"
FLEXPRICE = "https://docs.flexprice.io/docs/product-catalogue/plans/billing-models/tiered"
METRIFOX = "https://docs.metrifox.com/pricing-models"
ZENSKAR = "https://docs.zenskar.com/docs/step-pricing"
SOLVIMON = "https://docs.solvimon.com/docs/staircase-pricing"
ORACLE = (
    "https://docs.oracle.com/en/industries/financial-services/"
    "banking-liquidity-management-cloud-service/14.7.4.0.0/oblug/examples-tier-based-amount.html"
)

Price = dict[str, Any]


def tiered(model: str, *tiers: tuple[str, ...]) -> Price:
    """Tiers as (up_to or "", unit price, flat fee or nothing); stairstep: (up_to, flat fee)."""
    names = ("up_to", "flat_fee") if model == "stairstep" else ("up_to", "unit_price", "flat_fee")
    rows = [
        {name: value for name, value in zip(names, tier, strict=False) if value} for tier in tiers
    ]
    return {"model": model, "tiers": rows}


def package(size: str, price: str) -> Price:
    return {"model": "package", "package_size": size, "package_price": price}


FONTS = (("5", "7"), ("10", "6.5"), ("", "6"))
ZUPLO_TIERS = (("1000", "0.10"), ("10000", "0.05"), ("", "0.01"))
CALLS = (("1000", "0.01"), ("10000", "0.008"), ("", "0.005"))
DOCUMENTS = (("100", "1"), ("", "0.50"))
LAGO_VOLUME = (
    ("10000", "0.0010", "10"),
    ("50000", "0.0008", "10"),
    ("100000", "0.0006", "10"),
    ("", "0.0004", "10"),
)
BULK = (("10", "0.50"), ("", "0.40"))
SEATS = (("10", "50"), ("20", "100"), ("", "150"))
LOGS = (("500", "100"), ("2000", "300"), ("", "600"))
SLABS = (("250", "1"), ("500", "2"), ("", "3"))
SLAB_FEES = (("250", "0", "10"), ("500", "0", "20"), ("", "0", "30"))
METRIFOX_TIERS = (("1000", "0.10"), ("", "0.08"))

EXAMPLES: list[tuple[Price, str, list[str], str]] = [
    # graduated
    (tiered("graduated", *FONTS), "1", ["7"], STRIPE),
    (tiered("graduated", *FONTS), "5", ["35"], STRIPE),
    (tiered("graduated", *FONTS), "6", ["35", "6.5"], STRIPE),
    (tiered("graduated", *FONTS), "20", ["35", "32.5", "60"], STRIPE),
    (tiered("graduated", *FONTS), "25", ["35", "32.5", "90"], STRIPE),
    (tiered("graduated", *DOCUMENTS), "150", ["100", "25"], RECURLY),
    (tiered("graduated", *ZUPLO_TIERS), "15000", ["100", "450", "50"], ZUPLO),
    (tiered("graduated", *CALLS), "15000", ["10", "72", "25"], AUTUMN),
    (tiered("graduated", *METRIFOX_TIERS), "2500", ["100", "120"], METRIFOX),
    (tiered("graduated", *SLABS), "1000", ["250", "500", "1500"], ORACLE),
    # graduated with fees alone: each step that was entered is paid
    (tiered("graduated", *SLAB_FEES), "1000", ["10", "20", "30"], ORACLE),
    (
        tiered("graduated", ("100", "0", "25"), ("1000", "0", "20"), ("", "0", "15")),
        "200",
        ["25", "20"],
        SOLVIMON,
    ),
    # volume
    (tiered("volume", *FONTS), "1", ["7"], STRIPE),
    (tiered("volume", *FONTS), "5", ["35"], STRIPE),
    (tiered("volume", *FONTS), "6", ["39"], STRIPE),
    (tiered("volume", *FONTS), "20", ["120"], STRIPE),
    (tiered("volume", *FONTS), "25", ["150"], STRIPE),
    (tiered("volume", *LAGO_VOLUME), "65000", ["39", "10"], LAGO + "volume"),
    (tiered("volume", *BULK), "10", ["5"], ORB),
    (tiered("volume", *BULK), "101", ["40.4"], ORB),
    (tiered("volume", *ZUPLO_TIERS), "15000", ["150"], ZUPLO),
    (tiered("volume", *METRIFOX_TIERS), "2500", ["200"], METRIFOX),
    (tiered("volume", *SLABS), "1000", ["3000"], ORACLE),
    # package
    (package("1000000", "1.25"), "10", ["1.25"], CHARGEBEE),
    (package("1000000", "1.25"), "1000000", ["1.25"], CHARGEBEE),
    (package("1000000", "1.25"), "1500000", ["2.5"], CHARGEBEE),
    (package("5", "5"), "4", ["5"], ORB),
    (package("5", "5"), "6", ["10"], ORB),
    (package("1000", "1.00"), "4500", ["5"], FLEXPRICE),
    # stairstep
    (tiered("stairstep", *SEATS), "25", ["150"], RECURLY_STAIRS),
    (tiered("stairstep", *SEATS), "100", ["150"], RECURLY_STAIRS),
    (tiered("stairstep", *SEATS), "10", ["50"], RECURLY_STAIRS),
    (tiered("stairstep", *SEATS), "11", ["100"], RECURLY_STAIRS),
    (tiered("stairstep", *LOGS), "1500", ["300"], ZENSKAR),
    (tiered("stairstep", ("250", "10"), ("500", "20"), ("", "30")), "1000", ["30"], ORACLE),
    # per unit and percentage
    ({"model": "per_unit", "unit_price": "0.05"}, "1000", ["50"], LAGO + "standard"),
    ({"model": "per_unit", "unit_price": "0.001"}, "100000", ["100"], ZUPLO),
    ({"model": "percentage", "percent": "1.2"}, "50", ["0.6"], LAGO + "percentage"),
]


def test_at_least_three_systems_stand_behind_every_model_with_tiers_or_packages() -> None:
    for model in ("graduated", "volume", "package", "stairstep"):
        hosts = {url.split("/")[2] for price, _, _, url in EXAMPLES if price["model"] == model}
        assert len(hosts) >= 3, model


@pytest.mark.parametrize(("price", "usage", "lines", "source"), EXAMPLES)
def test_a_published_example_is_reproduced(
    price: Price, usage: str, lines: list[str], source: str
) -> None:
    model = model_for(price_of(price), {})
    quantity = units(usage)
    assert isinstance(quantity, int)
    steps = [charge_text(step.amount) for step in model.steps(quantity) if step.amount]
    assert steps == lines, source
    assert sum(step.amount for step in model.steps(quantity)) == model.charge(quantity)


def test_units_that_are_free_come_before_packages() -> None:
    """5 for each 100, the first 100 free: 201 units are 10; https://getlago.com ... /package."""
    rater = Rater(ChargeTerms(price_of(package("100", "5")), allowance=100 * 10**12))
    rated = rater.rate(201 * 10**12)
    assert (rated.included, rated.overage) == (100 * 10**12, 101 * 10**12)
    assert charge_text(rated.charge) == "10"


def test_transactions_through_percentage_tiers_are_charged_their_difference() -> None:
    """Rates of 1, 2, 3 percent and fees of 200, 300, 400; Lago, graduated percentage."""
    price = tiered(
        "graduated", ("1000", "0.01", "200"), ("10000", "0.02", "300"), ("", "0.03", "400")
    )
    rater = Rater(ChargeTerms(price_of(price)))
    values = [each * 10**12 for each in (0, 500, 1050, 5050)]
    charged = [rater.rate_event(low, high).charge for low, high in pairwise(values)]
    assert [charge_text(each) for each in charged] == ["205", "306", "80"]


class Plan(NamedTuple):
    """A plan in which everything but one thing is nothing."""

    base_fee: int = 0
    commit: int = 0
    minimum: int = 0


def whole_period(plan: Plan, unit_price: str, used: int) -> dict[LineKind, str]:
    price = price_of({"model": "per_unit", "unit_price": unit_price})
    terms = PlanTerms(USD, base_fee=plan.base_fee * ONE_CHARGE, commit=plan.commit * ONE_CHARGE)
    charges = {"units": ChargeTerms(price, minimum=plan.minimum * ONE_CHARGE)}
    result = bill([Span(0, 1, terms, charges)], {("units", ()): [used * 10**12]}, period=1)
    return {line.kind: str(line.amount) for line in result.lines}


@pytest.mark.parametrize(
    ("used", "charge", "true_up", "source"),
    [(800, "800.00", "200.00", LAGO_COMMITMENT), (1300, "1300.00", None, LAGO_COMMITMENT)],
)
def test_a_commit_is_topped_up(used: int, charge: str, true_up: str | None, source: str) -> None:
    lines = whole_period(Plan(commit=1000), "1", used)
    assert (lines.get(LineKind.CHARGE), lines.get(LineKind.TRUE_UP)) == (charge, true_up), source


def test_a_minimum_is_reached() -> None:
    """0.010 for each of 5 000 tracked users are 50, and the minimum is 100; LAGO_MINIMUM."""
    assert whole_period(Plan(minimum=100), "0.010", 5000) == {LineKind.CHARGE: "100.00"}


@pytest.mark.parametrize(
    ("before", "after", "due", "source"),
    [
        (20, 50, ["10.00", "25.00"], AUTUMN_PRORATION),
        (10, 20, ["5.00", "10.00"], "https://saasykit.com/docs/payment-providers/proration"),
    ],
)
def test_a_change_halfway_is_prorated(before: int, after: int, due: list[str], source: str) -> None:
    spans = [
        Span(0, 15, PlanTerms(USD, base_fee=before * ONE_CHARGE), {}),
        Span(15, 30, PlanTerms(USD, base_fee=after * ONE_CHARGE), {}),
    ]
    assert [str(line.amount) for line in bill(spans, {}, period=30).lines] == due, source
