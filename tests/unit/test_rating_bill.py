"""The lines of a period: true-up, base fee by time, one rounding each, and a total that adds up."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.catalog import Aggregation
from metering.quantity import units
from rating_engine.bill import Bill, Usage, bill
from rating_engine.currency import currency
from rating_engine.exact import ONE_CHARGE
from rating_engine.models.table import price_of
from rating_engine.money import CurrencyMismatch, Rounding
from rating_engine.period_rater import GroupKey, Span
from rating_engine.terms import ChargeTerms, CommitBucket, PlanTerms

USD = currency("USD")
CENT = ONE_CHARGE // 100
DAYS = 30


def q(text: str) -> int:
    read = units(text)
    assert isinstance(read, int)
    return read


def per_unit(price: str, **around: Any) -> ChargeTerms:
    return ChargeTerms(price_of({"model": "per_unit", "unit_price": price}), **around)


def lines(result: Bill) -> list[tuple[str, str, str]]:
    return [(str(line.kind), line.meter, str(line.amount)) for line in result.lines]


def test_lines_come_by_meter_and_group_with_what_the_plan_adds() -> None:
    plan = PlanTerms(USD, base_fee=20 * ONE_CHARGE, commit=100 * ONE_CHARGE)
    charges = {"storage": per_unit("0.5"), "api": per_unit("0.001", allowance=q("1000"))}
    eu: GroupKey = (("region", "eu"),)
    us: GroupKey = (("region", "us"),)
    result = bill(
        [Span(0, DAYS, plan, charges)],
        {("storage", us): [q("10")], ("api", ()): [q("3000")], ("storage", eu): [q("4")]},
        period=DAYS,
    )
    assert lines(result) == [
        ("charge", "api", "2.00"),
        ("charge", "storage", "2.00"),
        ("charge", "storage", "5.00"),
        ("true_up", "", "91.00"),
        ("base_fee", "", "20.00"),
    ]
    assert [line.group for line in result.lines[1:3]] == [eu, us]
    assert (str(result.total), result.commit, result.used) == (
        "120.00",
        100 * ONE_CHARGE,
        9 * ONE_CHARGE,
    )


def test_the_base_fee_is_no_part_of_what_fills_the_commit() -> None:
    plan = PlanTerms(USD, base_fee=500 * ONE_CHARGE, commit=100 * ONE_CHARGE)
    assert lines(bill([Span(0, DAYS, plan, {})], {}, period=DAYS)) == [
        ("true_up", "", "100.00"),
        ("base_fee", "", "500.00"),
    ]


@pytest.mark.parametrize(
    ("rounding", "used", "amounts"),
    [
        # two lines of half a cent: whatever they are rounded to, the true-up fills what is missing
        (Rounding.HALF_EVEN, ("0.5", "0.5"), ["0.00", "0.00", "10.00"]),
        (Rounding.HALF_UP, ("0.5", "0.5"), ["0.01", "0.01", "9.98"]),
        (Rounding.HALF_EVEN, ("1.5", "2.5"), ["0.02", "0.02", "9.96"]),
        # less than a cent is missing, and rounding has filled it already
        (Rounding.HALF_UP, ("999.5", "0.4"), ["10.00", "0.00"]),
    ],
)
def test_charges_and_true_up_add_up_to_the_commit_to_the_cent(
    rounding: Rounding, used: tuple[str, str], amounts: list[str]
) -> None:
    plan = PlanTerms(USD, commit=10 * ONE_CHARGE, rounding=rounding)
    charges = {"a": per_unit("0.01"), "b": per_unit("0.01")}
    usage: Usage = {("a", ()): [q(used[0])], ("b", ()): [q(used[1])]}
    result = bill([Span(0, DAYS, plan, charges)], usage, period=DAYS)
    assert [str(line.amount) for line in result.lines] == amounts
    assert str(result.total) == "10.00"


def test_nothing_is_topped_up_where_the_exact_charges_reach_the_commit() -> None:
    plan = PlanTerms(USD, commit=10 * ONE_CHARGE)
    charges = {meter: per_unit("3.334") for meter in "abc"}
    usage: Usage = {(meter, ()): [q("1")] for meter in "abc"}
    result = bill([Span(0, DAYS, plan, charges)], usage, period=DAYS)
    assert [str(line.amount) for line in result.lines] == ["3.33"] * 3
    assert result.used > result.commit


def test_what_is_due_for_nothing_is_charged_without_usage() -> None:
    charges = {
        "bucket": per_unit("1", bucket=CommitBucket(q("10"), 30 * ONE_CHARGE)),
        "free": per_unit("1"),
        "minimum": per_unit("1", minimum=5 * ONE_CHARGE),
    }
    result = bill([Span(0, DAYS, PlanTerms(USD), charges)], {}, period=DAYS)
    assert lines(result) == [("charge", "bucket", "30.00"), ("charge", "minimum", "5.00")]
    use = result.lines[0].commit_use
    assert use is not None
    assert (use.used, use.buffer_units, use.buffer) == (0, q("10"), 30 * ONE_CHARGE)


def test_usage_without_a_charge_is_listed_and_costs_nothing() -> None:
    spans = [
        Span(0, 10, PlanTerms(USD), {}),
        Span(10, DAYS, PlanTerms(USD), {"api": per_unit("1")}),
    ]
    usage: Usage = {("api", ()): [q("7"), q("3")], ("other", ()): [0, q("2")]}
    result = bill(spans, usage, period=DAYS)
    assert lines(result) == [("charge", "api", "3.00")]
    assert result.lines[0].spans == (1, 1)
    assert result.unpriced == (("api", (), 0, q("7")), ("other", (), 1, q("2")))


def test_a_change_of_version_gives_a_line_for_each_and_one_where_nothing_changed() -> None:
    first = PlanTerms(USD, base_fee=30 * ONE_CHARGE)
    second = PlanTerms(USD, base_fee=60 * ONE_CHARGE)
    spans = [
        Span(0, 10, first, {"api": per_unit("1"), "storage": per_unit("3")}),
        Span(10, 20, first, {"api": per_unit("1.0"), "storage": per_unit("2")}),
        Span(20, DAYS, second, {"api": per_unit("1"), "storage": per_unit("2")}),
    ]
    usage: Usage = {
        ("api", ()): [q("1"), q("2"), q("3")],
        ("storage", ()): [q("1"), q("2"), q("3")],
    }
    result = bill(spans, usage, period=DAYS)
    assert lines(result) == [
        ("charge", "api", "6.00"),
        ("charge", "storage", "3.00"),
        ("charge", "storage", "10.00"),
        ("base_fee", "", "20.00"),
        ("base_fee", "", "20.00"),
    ]
    assert [line.spans for line in result.lines] == [(0, 2), (0, 0), (1, 2), (0, 1), (2, 2)]


def test_a_base_fee_by_thirds_is_rounded_once_for_each_line() -> None:
    spans = [
        Span(0, 10, PlanTerms(USD, base_fee=100 * ONE_CHARGE), {}),
        Span(10, 20, PlanTerms(USD, base_fee=50 * ONE_CHARGE), {}),
        Span(20, DAYS, PlanTerms(USD, base_fee=100 * ONE_CHARGE), {}),
    ]
    result = bill(spans, {}, period=DAYS)
    assert [str(line.amount) for line in result.lines] == ["33.33", "16.67", "33.33"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 10**12 - 1), max_size=4, unique=True).map(sorted),
    st.data(),
    st.booleans(),
    st.sampled_from(Rounding),
)
def test_a_period_that_is_cut_without_a_change_is_billed_as_if_it_were_not(
    cuts: list[int], data: st.DataObject, prorate: bool, rounding: Rounding
) -> None:
    period = 10**12
    plan = PlanTerms(
        USD,
        base_fee=data.draw(st.integers(0, 10**26)),
        commit=data.draw(st.integers(0, 10**26)),
        rounding=rounding,
        prorate_allowance=prorate,
    )
    charges = {"m": per_unit("0.0035", allowance=q("100"), cap=40 * ONE_CHARGE)}
    ends = [0, *cuts, period]
    spans = [Span(low, high, plan, dict(charges)) for low, high in pairwise(ends)]
    used = [data.draw(st.integers(0, 10**16)) for _ in spans]
    cut = bill(spans, {("m", ()): used}, period=period)
    whole = bill([Span(0, period, plan, charges)], {("m", ()): [sum(used)]}, period=period)
    assert lines(cut) == lines(whole)
    assert (cut.total, cut.commit, cut.used) == (whole.total, whole.commit, whole.used)


def test_currencies_do_not_mix() -> None:
    spans = [
        Span(0, 10, PlanTerms(USD), {}),
        Span(10, DAYS, PlanTerms(currency("EUR")), {}),
    ]
    with pytest.raises(CurrencyMismatch, match="EUR"):
        bill(spans, {}, period=DAYS)


@pytest.mark.parametrize("spans", [[], [(0, 10), (11, 30)], [(0, 20), (10, 30)]])
def test_spans_that_do_not_follow_each_other_are_refused(spans: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="spans: expected"):
        bill([Span(low, high, PlanTerms(USD), {}) for low, high in spans], {}, period=DAYS)


def test_a_level_is_not_added_up_where_a_change_left_its_price() -> None:
    other = PlanTerms(USD, base_fee=ONE_CHARGE)
    charges = {"storage": per_unit("1"), "seats": per_unit("2"), "api": per_unit("3")}
    spans = [Span(0, 10, PlanTerms(USD), charges), Span(10, DAYS, other, charges)]
    usage: Usage = {
        ("storage", ()): [q("7"), q("5")],
        ("seats", ()): [q("7"), q("5")],
        ("api", ()): [q("7"), q("5")],
    }
    levels = {"storage": Aggregation.MAX, "seats": Aggregation.LATEST}
    result = bill(spans, usage, period=DAYS, aggregations=levels)
    assert lines(result)[:3] == [
        ("charge", "api", "36.00"),
        ("charge", "seats", "10.00"),
        ("charge", "storage", "7.00"),
    ]
