"""The reconciler's own calendar comes to what the engine's does, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating_engine.billing_period import BillingCalendar
from reconcile.own_periods import OwnPeriods, first_second

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Beirut", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Auckland", "America/Sao_Paulo",
)  # fmt: skip


def own(anchor_day: int, zone: str) -> OwnPeriods:
    return OwnPeriods(lambda _customer: (anchor_day, zone), lambda _customer, _period: ())


@given(
    anchor_day=st.integers(1, 31), zone=st.sampled_from(ZONES), year=st.integers(2000, 2035),
    month=st.integers(1, 12),
)  # fmt: skip
def test_a_month_begins_and_ends_when_the_engine_says(
    anchor_day: int, zone: str, year: int, month: int
) -> None:
    expected = BillingCalendar(anchor_day, zone).beginning_in(year, month)
    assert own(anchor_day, zone).beginning_in("c", year, month=month) == expected


@given(
    anchor_day=st.integers(1, 31), zone=st.sampled_from(ZONES),
    second=st.integers(946_684_800, 2_050_000_000),
)  # fmt: skip
def test_a_moment_lies_in_the_period_that_the_engine_finds(
    anchor_day: int, zone: str, second: int
) -> None:
    expected = BillingCalendar(anchor_day, zone).period_of(second * 1_000_000)
    assert own(anchor_day, zone).holding("c", second) == expected


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        (date(2026, 3, 29), "Asia/Beirut", "2026-03-28T22:00:00+00:00"),  # midnight is skipped
        (date(2026, 11, 1), "America/Havana", "2026-11-01T04:00:00+00:00"),  # midnight comes twice
        (date(2011, 12, 30), "Pacific/Apia", "2011-12-30T10:00:00+00:00"),  # the day is skipped
    ],
)
def test_a_day_begins_at_its_first_moment(day: date, zone: str, expected: str) -> None:
    found = datetime.fromtimestamp(first_second(day, ZoneInfo(zone)), UTC)
    assert found.isoformat() == expected
