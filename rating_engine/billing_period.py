"""Billing periods: months from an anchor day on, in the customer's time zone, half-open.

A period begins with its anchor day, at the first moment of that day that exists there: local
midnight, or the end of the gap where a clock change skips it, or the first of two midnights. In a
month that is too short the anchor day is the last one, and in the next month the anchor again. An
event belongs to exactly one period, whatever the clocks did.
"""

from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

ANCHOR_DAY_MAX = 31
_MONTHS = 12
_DAY_S = 86_400
_SECOND_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BillingPeriod(NamedTuple):
    """From `start` (inclusive) to `end` (exclusive), Unix seconds UTC; named by its start."""

    start: int
    end: int

    @property
    def length_us(self) -> int:
        """Elapsed microseconds from start to end."""
        return (self.end - self.start) * _SECOND_US


@dataclass(frozen=True, slots=True)
class BillingCalendar:
    """Months from `anchor_day` (1..31) on in `time_zone` (an IANA name).

    The default is the calendar month in UTC. Raises `ValueError` for another day and
    `zoneinfo.ZoneInfoNotFoundError` for an unknown zone.
    """

    anchor_day: int = 1
    time_zone: str = "UTC"
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the day and find the zone."""
        if type(self.anchor_day) is not int or not 1 <= self.anchor_day <= ANCHOR_DAY_MAX:
            message = f"anchor_day: expected 1 to {ANCHOR_DAY_MAX}, got {self.anchor_day!r}"
            raise ValueError(message)
        object.__setattr__(self, "_zone", ZoneInfo(self.time_zone))

    def period_of(self, occurred_us: int) -> BillingPeriod:
        """Find the period that holds a moment (Unix microseconds UTC)."""
        second = occurred_us // _SECOND_US
        local = datetime.fromtimestamp(second, UTC).astimezone(self._zone)
        month = local.year * _MONTHS + local.month - 1
        # the anchor decides between this month and the one before; a skipped day may add one
        starts = [self._start(month + step) for step in (-1, 0, 1, 2)]
        at = bisect_right(starts, second)
        return BillingPeriod(starts[at - 1], starts[at])

    def beginning_in(self, year: int, month: int) -> BillingPeriod:
        """Find the period that begins in a month: on its anchor day, or its last where it is short.

        Raises `ValueError` for a month that is none.
        """
        if not 1 <= month <= _MONTHS:
            message = f"month: expected 1 to {_MONTHS}, got {month}"
            raise ValueError(message)
        start = year * _MONTHS + month - 1
        return BillingPeriod(self._start(start), self._start(start + 1))

    def holding(self, day: date) -> BillingPeriod:
        """Find the period that holds a local day, whole: periods begin where days do."""
        return self.period_of(_day_start(day, self._zone) * _SECOND_US)

    def periods(self, first_us: int, until_us: int) -> list[BillingPeriod]:
        """Every period that holds a moment from `first_us` (inclusive) to `until_us` (exclusive).

        Both are Unix microseconds UTC; none where `until_us` is not later.
        """
        found: list[BillingPeriod] = []
        moment = first_us
        while moment < until_us:
            found.append(self.period_of(moment))
            moment = found[-1].end * _SECOND_US
        return found

    def _start(self, month: int) -> int:
        year, month_at = divmod(month, _MONTHS)
        days = monthrange(year, month_at + 1)[1]
        return _day_start(date(year, month_at + 1, min(self.anchor_day, days)), self._zone)


@lru_cache(maxsize=4096)
def _day_start(day: date, zone: ZoneInfo) -> int:
    """First second (Unix, UTC) at which the local date is `day`, or later where it is skipped."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    # an offset is less than a day: the wanted second is less than two around the naive midnight
    low = _unix(midnight.replace(tzinfo=UTC)) - 2 * _DAY_S
    guess = _unix(midnight)
    if _date_at(guess, zone) >= day > _date_at(guess - 1, zone):
        return guess
    high = low + 4 * _DAY_S
    while low < high:
        middle = (low + high) // 2
        if _date_at(middle, zone) >= day:
            high = middle
        else:
            low = middle + 1
    return low


def _date_at(second: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(second, UTC).astimezone(zone).date()


def _unix(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)
