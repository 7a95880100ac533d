"""Which billing period a name means, in every customer's own calendar."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.period_name import PeriodName
from metering.errors import PermanentError
from rating_engine.billing_period import BillingCalendar, BillingPeriod

BERLIN = BillingCalendar(15, "Europe/Berlin")
NEW_YORK = BillingCalendar(31, "America/New_York")


def told(period: BillingPeriod) -> tuple[str, str]:
    start, end = (datetime.fromtimestamp(each, UTC).isoformat() for each in period)
    return start[:16], end[:16]


@pytest.mark.parametrize(
    ("name", "calendar", "expected"),
    [
        ("2026-04", BillingCalendar(), ("2026-04-01T00:00", "2026-05-01T00:00")),
        ("2026-12", BillingCalendar(), ("2026-12-01T00:00", "2027-01-01T00:00")),
        ("2026-04", BERLIN, ("2026-04-14T22:00", "2026-05-14T22:00")),
        ("2026-04-14", BERLIN, ("2026-03-14T23:00", "2026-04-14T22:00")),
        ("2026-04-15", BERLIN, ("2026-04-14T22:00", "2026-05-14T22:00")),
        # an hour of March is missing and one of October is there twice
        ("2026-03-20", BillingCalendar(1, "Europe/Berlin"), ("2026-02-28T23:00",
                                                             "2026-03-31T22:00")),
        ("2026-10", BillingCalendar(1, "Europe/Berlin"), ("2026-09-30T22:00", "2026-10-31T23:00")),
        # the last day where a month is short; 29 February in a leap year
        ("2026-02", NEW_YORK, ("2026-02-28T05:00", "2026-03-31T04:00")),
        ("2028-02", NEW_YORK, ("2028-02-29T05:00", "2028-03-31T04:00")),
        ("2028-02-28", NEW_YORK, ("2028-01-31T05:00", "2028-02-29T05:00")),
    ],
)  # fmt: skip
def test_case_23_a_month_is_what_begins_in_it_and_a_day_what_holds_it(
    name: str, calendar: BillingCalendar, expected: tuple[str, str]
) -> None:
    assert told(PeriodName.read(name).of(calendar)) == expected


@given(
    st.integers(1, 31),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu",
                     "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"]),
    st.integers(1970, 2040), st.integers(1, 12),
)  # fmt: skip
def test_months_name_periods_without_a_gap(anchor: int, zone: str, year: int, month: int) -> None:
    calendar = BillingCalendar(anchor, zone)
    found = calendar.beginning_in(year, month)
    following = calendar.beginning_in(year + month // 12, month % 12 + 1)
    assert found.end == following.start
    for moment in (found.start, found.end - 1):
        assert calendar.period_of(moment * 1_000_000) == found


@given(st.dates(date(1970, 1, 2), date(2040, 1, 1)))
def test_a_day_is_held_whole(day: date) -> None:
    found = PeriodName.read(day.isoformat()).of(BERLIN)
    for hour in (0, 12, 23):
        moment = datetime(day.year, day.month, day.day, hour, tzinfo=BERLIN._zone)
        assert found.start <= moment.timestamp() < found.end


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-4", "2026-02-30", "April", "1899-12",
             "9000-01", "2026-04-15T00:00:00Z", "\uff12\uff10\uff12\uff16-04"],
)  # fmt: skip
def test_what_names_no_period_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="--period: expected a month like 2026-04"):
        PeriodName.read(text)
