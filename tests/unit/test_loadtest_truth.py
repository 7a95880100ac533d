"""The truth, on cases small enough to add up by hand."""

from decimal import Decimal

import pytest

from loadtest.meters import METER_BY_NAME, decimal_quantity, quantity_of_units
from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.truth import Truth
from loadtest.usage import Shape, Usage

_HOUR_S = 3600
_NOON_S = 1_767_268_800  # 2026-01-01T12:00:00Z


def _usage(
    meter: str,
    quantity: str,
    *,
    at_s: float = _NOON_S,
    customer: str = "acme",
    late: bool = False,
    **dimensions: str,
) -> Usage:
    units = int(Decimal(quantity).scaleb(12))
    return Usage(
        serial=1,
        id="any",
        customer_id=customer,
        names_customer=True,
        subject=None,
        meter=METER_BY_NAME[meter],
        quantity=quantity_of_units(units),
        occurred_us=round(at_s * 1_000_000),
        dimensions=dimensions,
        late=late,
        shape=Shape.OWN,
    )


def _outcome(*usages: Usage) -> Outcome:
    truth = Truth()
    for usage in usages:
        truth.accept(usage)
    return truth.outcome()


def _key(meter: str, window_s: int = _NOON_S, group: str = "{}") -> TotalKey:
    return TotalKey("acme", meter, group, window_s)


def test_a_sum_of_tenths_is_exact() -> None:
    tenth = _usage("agent_minutes", "0.1")
    assert _outcome(tenth, tenth, tenth).totals == {_key("agent_minutes"): Total(Decimal("0.3"), 3)}


def test_a_sum_of_quintillions_and_trillionths_is_exact() -> None:
    large = _usage("credits", "9999999999999999999")
    small = _usage("credits", "0.000000000001")
    total = _outcome(large, large, small).totals[_key("credits")]
    assert str(total.quantity) == "19999999999999999998.000000000001"


def test_negative_credits_take_back() -> None:
    usages = (_usage("credits", "5"), _usage("credits", "-7.5"))
    assert _outcome(*usages).totals[_key("credits")] == Total(Decimal("-2.5"), 2)


def test_a_count_is_the_number_of_events_whatever_their_quantity() -> None:
    usages = (_usage("documents_processed", "9"), _usage("documents_processed", "0"))
    assert _outcome(*usages).totals[_key("documents_processed")] == Total(Decimal(2), 2)


def test_a_maximum_is_the_largest_of_its_window() -> None:
    usages = [_usage("storage_gb", text) for text in ("3.5", "10.25", "7")]
    assert _outcome(*usages).totals[_key("storage_gb")] == Total(Decimal("10.25"), 3)


def test_the_latest_is_by_time_of_occurrence_not_of_arrival() -> None:
    usages = (
        _usage("seats", "5", at_s=_NOON_S + 20),
        _usage("seats", "9", at_s=_NOON_S + 30),
        _usage("seats", "7", at_s=_NOON_S + 10),
    )
    assert _outcome(*usages).totals[_key("seats")] == Total(Decimal(9), 3)


def test_two_latest_at_the_same_instant_are_refused() -> None:
    with pytest.raises(AssertionError, match="must be one"):
        _outcome(_usage("seats", "5"), _usage("seats", "6"))


def test_a_user_counts_once_a_month_in_the_window_of_the_first_event_in_the_log() -> None:
    later, earlier = _NOON_S + _HOUR_S, _NOON_S
    outcome = _outcome(
        _usage("active_users", "1", at_s=later, user_id="ann"),
        _usage("active_users", "1", at_s=earlier, user_id="ann"),
        _usage("active_users", "1", at_s=earlier, user_id="bob"),
        _usage("active_users", "1", at_s=_NOON_S - 13 * _HOUR_S, user_id="ann"),
    )
    assert outcome.totals == {
        _key("active_users", later): Total(Decimal(1), 1),
        _key("active_users", earlier): Total(Decimal(1), 2),
        _key("active_users", _NOON_S - 13 * _HOUR_S): Total(Decimal(1), 1),  # in December
    }


def test_groups_are_canonical_and_a_missing_key_is_empty_text() -> None:
    outcome = _outcome(
        _usage("api_requests", "1", region="eu", plan="pro"),
        _usage("api_requests", "2", region="eu", plan="free"),
        _usage("api_requests", "4", plan="pro"),
    )
    assert outcome.totals == {
        _key("api_requests", group='{"region":"eu"}'): Total(Decimal(3), 2),
        _key("api_requests", group='{"region":""}'): Total(Decimal(4), 1),
    }


@pytest.mark.parametrize(("seconds", "window_s"), [(0, 0), (-0.000001, -_HOUR_S), (3599.999999, 0)])
def test_an_event_on_the_border_belongs_to_the_window_that_starts_there(
    seconds: float, window_s: int
) -> None:
    outcome = _outcome(_usage("workflow_runs", "1", at_s=_NOON_S + seconds))
    assert outcome.totals == {_key("workflow_runs", _NOON_S + window_s): Total(Decimal(1), 1)}


def test_disregarded_usage_is_accepted_and_in_no_total() -> None:
    truth = Truth()
    truth.disregard(_usage("workflow_runs", "1", late=True))
    assert truth.outcome() == Outcome(accepted=1, disregarded=1, late=1)


def test_every_event_is_accounted_for_once() -> None:
    truth = Truth()
    truth.accept(_usage("workflow_runs", "1"))
    truth.disregard(_usage("workflow_runs", "1"))
    truth.duplicate()
    truth.suppress()
    truth.reject("meter_must_be_known")
    assert truth.accounted == truth.outcome().accounted == 5


@pytest.mark.parametrize(
    ("whole", "fraction_digits", "text"),
    [(5, 0, "5"), (-5, 2, "-0.05"), (12_345, 3, "12.345"), (1, 12, "0.000000000001")],
)
def test_quantities_are_written_as_plain_decimals(
    whole: int, fraction_digits: int, text: str
) -> None:
    quantity = decimal_quantity(whole, fraction_digits)
    assert quantity.text == text
    assert Decimal(quantity.units).scaleb(-12) == Decimal(text)
    assert quantity_of_units(quantity.units) == quantity
