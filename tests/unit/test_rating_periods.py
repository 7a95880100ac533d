"""Billing periods where calendars and clocks are awkward: month ends, leap days, clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.period import period_end, period_starts
from rating_engine.billing_period import BillingCalendar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000


def us(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def period(calendar: BillingCalendar, moment: str) -> tuple[str, str]:
    """The period that holds `moment`, in local time with its offset."""
    zone = ZoneInfo(calendar.time_zone)
    found = calendar.period_of(us(moment))
    low, high = (datetime.fromtimestamp(each, UTC).astimezone(zone).isoformat() for each in found)
    return low, high


@pytest.mark.parametrize(
    ("anchor", "zone", "moment", "start", "end"),
    [
        # calendar months and anchor days
        (
            1,
            "UTC",
            "2026-04-30T12:00:00Z",
            "2026-04-01T00:00:00+00:00",
            "2026-05-01T00:00:00+00:00",
        ),
        (
            15,
            "UTC",
            "2026-04-14T23:59:59.999999Z",
            "2026-03-15T00:00:00+00:00",
            "2026-04-15T00:00:00+00:00",
        ),
        (
            15,
            "UTC",
            "2026-04-15T00:00:00Z",
            "2026-04-15T00:00:00+00:00",
            "2026-05-15T00:00:00+00:00",
        ),
        (
            15,
            "UTC",
            "2026-01-03T00:00:00Z",
            "2025-12-15T00:00:00+00:00",
            "2026-01-15T00:00:00+00:00",
        ),
        # short months, leap days, and the anchor again after them
        (
            31,
            "UTC",
            "2026-02-10T00:00:00Z",
            "2026-01-31T00:00:00+00:00",
            "2026-02-28T00:00:00+00:00",
        ),
        (
            31,
            "UTC",
            "2026-02-28T00:00:00Z",
            "2026-02-28T00:00:00+00:00",
            "2026-03-31T00:00:00+00:00",
        ),
        (
            31,
            "UTC",
            "2026-04-30T00:00:00Z",
            "2026-04-30T00:00:00+00:00",
            "2026-05-31T00:00:00+00:00",
        ),
        (
            31,
            "UTC",
            "2028-02-29T00:00:00Z",
            "2028-02-29T00:00:00+00:00",
            "2028-03-31T00:00:00+00:00",
        ),
        (
            29,
            "UTC",
            "2028-02-28T23:59:59Z",
            "2028-01-29T00:00:00+00:00",
            "2028-02-29T00:00:00+00:00",
        ),
        (
            29,
            "UTC",
            "2027-03-01T00:00:00Z",
            "2027-02-28T00:00:00+00:00",
            "2027-03-29T00:00:00+00:00",
        ),
        (
            30,
            "UTC",
            "2100-02-28T12:00:00Z",
            "2100-02-28T00:00:00+00:00",
            "2100-03-30T00:00:00+00:00",
        ),
        # local months around a clock change
        (
            1,
            "Europe/Berlin",
            "2026-03-31T22:30:00Z",
            "2026-04-01T00:00:00+02:00",
            "2026-05-01T00:00:00+02:00",
        ),
        (
            1,
            "Europe/Berlin",
            "2026-03-31T21:59:59Z",
            "2026-03-01T00:00:00+01:00",
            "2026-04-01T00:00:00+02:00",
        ),
        (
            1,
            "America/New_York",
            "2026-11-01T05:30:00Z",
            "2026-11-01T00:00:00-04:00",
            "2026-12-01T00:00:00-05:00",
        ),
        (
            1,
            "Asia/Kolkata",
            "2026-01-31T18:30:00Z",
            "2026-02-01T00:00:00+05:30",
            "2026-03-01T00:00:00+05:30",
        ),
        (
            1,
            "Pacific/Kiritimati",
            "2026-01-31T10:00:00Z",
            "2026-02-01T00:00:00+14:00",
            "2026-03-01T00:00:00+14:00",
        ),
        # midnight is skipped: the day begins an hour late
        (
            9,
            "America/Sao_Paulo",
            "2017-10-20T00:00:00Z",
            "2017-10-09T00:00:00-03:00",
            "2017-11-09T00:00:00-02:00",
        ),
        (
            15,
            "America/Sao_Paulo",
            "2017-10-20T00:00:00Z",
            "2017-10-15T01:00:00-02:00",
            "2017-11-15T00:00:00-02:00",
        ),
        (
            27,
            "Africa/Cairo",
            "2026-03-01T00:00:00Z",
            "2026-02-27T00:00:00+02:00",
            "2026-03-27T00:00:00+02:00",
        ),
        (
            24,
            "Africa/Cairo",
            "2026-04-30T00:00:00Z",
            "2026-04-24T01:00:00+03:00",
            "2026-05-24T00:00:00+03:00",
        ),
        # midnight comes twice: the first one counts
        (
            5,
            "America/Havana",
            "2023-11-05T04:30:00Z",
            "2023-11-05T00:00:00-04:00",
            "2023-12-05T00:00:00-05:00",
        ),
        (
            5,
            "America/Havana",
            "2023-11-05T05:30:00Z",
            "2023-11-05T00:00:00-04:00",
            "2023-12-05T00:00:00-05:00",
        ),
        # midnight comes twice, a minute into the day: what comes after the first one is in
        (
            1,
            "America/St_Johns",
            "2009-11-01T03:00:00Z",
            "2009-11-01T00:00:00-02:30",
            "2009-12-01T00:00:00-03:30",
        ),
        (
            1,
            "America/St_Johns",
            "2009-11-01T02:29:59Z",
            "2009-10-01T00:00:00-02:30",
            "2009-11-01T00:00:00-02:30",
        ),
        # the gap begins before midnight and ends after it
        (
            31,
            "America/Toronto",
            "1919-04-01T12:00:00Z",
            "1919-03-31T00:30:00-04:00",
            "1919-04-30T00:00:00-04:00",
        ),
        (
            31,
            "America/Toronto",
            "1919-03-31T04:29:59Z",
            "1919-02-28T00:00:00-05:00",
            "1919-03-31T00:30:00-04:00",
        ),
        # the last hour of the day before comes twice
        (
            18,
            "America/Sao_Paulo",
            "2018-02-18T02:30:00Z",
            "2018-01-18T00:00:00-02:00",
            "2018-02-18T00:00:00-03:00",
        ),
        # the anchor day does not exist: the period begins with the next moment there is
        (
            30,
            "Pacific/Apia",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T00:00:00+14:00",
            "2012-01-30T00:00:00+14:00",
        ),
        (
            30,
            "Pacific/Apia",
            "2011-12-29T23:59:59-10:00",
            "2011-11-30T00:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
        ),
    ],
)
def test_a_moment_is_in_its_local_period(
    anchor: int, zone: str, moment: str, start: str, end: str
) -> None:
    assert period(BillingCalendar(anchor, zone), moment) == (start, end)


def test_a_clock_change_makes_a_period_longer_or_shorter() -> None:
    berlin = BillingCalendar(1, "Europe/Berlin")
    hours = {
        month: berlin.period_of(us(f"2026-{month:02d}-15T00:00:00Z")).length_us // 3_600_000_000
        for month in (1, 3, 10)
    }
    assert hours == {1: 744, 3: 743, 10: 745}


def test_the_default_is_the_period_that_usage_without_a_plan_is_in() -> None:
    calendar = BillingCalendar()
    moments = [us("2026-01-01T00:00:00Z") + at * 86_400 * SECOND_US // 3 for at in range(5000)]
    starts = period_starts(np.array(moments, np.int64)).tolist()
    for moment, start in zip(moments, starts, strict=True):
        assert calendar.period_of(moment) == (start, period_end(start))


ZONES = sorted(available_timezones() - {"localtime"})


@settings(max_examples=400, deadline=None)
@given(
    st.integers(1, 31),
    st.sampled_from(ZONES),
    st.integers(us("1971-01-01T00:00:00Z"), us("2060-01-01T00:00:00Z")),
)
def test_every_moment_is_in_exactly_one_period_and_periods_leave_no_gap(
    anchor: int, zone: str, moment: int
) -> None:
    calendar = BillingCalendar(anchor, zone)
    found = calendar.period_of(moment)
    assert found.start * SECOND_US <= moment < found.end * SECOND_US
    assert 26 <= (found.end - found.start) / 86_400 <= 33
    assert calendar.period_of(found.start * SECOND_US) == found
    assert calendar.period_of(found.end * SECOND_US - 1) == found
    assert calendar.period_of(found.end * SECOND_US).start == found.end
    assert calendar.period_of(found.start * SECOND_US - 1).end == found.start


def test_periods_follow_each_other_over_years() -> None:
    for zone in ("UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Pacific/Apia"):
        for anchor in (1, 15, 29, 30, 31):
            calendar = BillingCalendar(anchor, zone)
            found = calendar.periods(us("2008-01-01T00:00:00Z"), us("2030-01-01T00:00:00Z"))
            assert len(found) in range(22 * 12, 22 * 12 + 3)
            assert all(low.end == high.start for low, high in pairwise(found))
    assert BillingCalendar().periods(5, 5) == []


@pytest.mark.parametrize("day", [0, 32, -1, 1.0, True, "1"])
def test_an_anchor_day_is_a_day_of_a_month(day: int) -> None:
    with pytest.raises(ValueError, match="anchor_day: expected 1 to 31"):
        BillingCalendar(day)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "EST5EDT4", "../etc/passwd"])
def test_a_zone_is_one_of_the_list(zone: str) -> None:
    with pytest.raises((ZoneInfoNotFoundError, ValueError)):
        BillingCalendar(1, zone)
