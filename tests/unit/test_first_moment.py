"""The first moment that usage may have occurred: no billing period begins before Unix time."""

from hypothesis import given
from hypothesis import strategies as st

from metering.period import FIRST_SECOND
from rating_engine.billing_period import ANCHOR_DAY_MAX, BillingCalendar


@given(
    st.integers(1, ANCHOR_DAY_MAX),
    st.sampled_from(["UTC", "Pacific/Kiritimati", "Asia/Tokyo", "Pacific/Honolulu"]),
)
def test_the_period_of_the_first_moment_begins_in_unix_time(anchor_day: int, zone: str) -> None:
    """Starts are stored unsigned: one before 1970 would stand in the year 2106."""
    assert BillingCalendar(anchor_day, zone).period_of(FIRST_SECOND * 1_000_000).start >= 0
    # as it would for a moment of the first days that Unix time has
    assert BillingCalendar(31, "Asia/Tokyo").period_of(0).start < 0
