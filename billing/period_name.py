"""Billing periods as people name them: `2026-04`, or a day that one holds, `2026-04-15`."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from metering.errors import PermanentError
from rating_engine.billing_period import BillingCalendar, BillingPeriod

_NAME = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d))?", re.ASCII)
#: Calendars reckon beyond both ends.
_YEARS = (1900, 8999)
_DAY_S = 86_400
#: A period is at most a month long, and begins at most a day away in another time zone.
_REACH_DAYS = 33


@dataclass(frozen=True, slots=True)
class PeriodName:
    """A name; which period it means depends on the customer's calendar.

    A month means the period that begins in it, a day the one that holds it; both in the customer's
    time zone.
    """

    text: str
    _day: date
    _is_month: bool

    @classmethod
    def read(cls, text: str) -> "PeriodName":
        """Raises `PermanentError` for what is neither a month nor a day."""
        found = _NAME.fullmatch(text)
        day = _day(f"{found[1]}-{found[2]}-{found[3] or '01'}") if found else None
        if found is None or day is None:
            msg = (
                "--period: expected a month like 2026-04 (the billing period that begins in it) "
                f"or a day like 2026-04-15 (the one that holds it), got {text!r}"
            )
            raise PermanentError(msg)
        return cls(text, day, found[3] is None)

    def of(self, calendar: BillingCalendar) -> BillingPeriod:
        """The period that is meant, in a customer's calendar."""
        if self._is_month:
            return calendar.beginning_in(self._day.year, self._day.month)
        return calendar.holding(self._day)

    def window(self) -> tuple[int, int]:
        """Unix seconds between which every period that may be meant begins, whoever's it is."""
        middle = int(
            datetime(self._day.year, self._day.month, self._day.day, tzinfo=UTC).timestamp()
        )
        return middle - _REACH_DAYS * _DAY_S, middle + _REACH_DAYS * _DAY_S


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if _YEARS[0] <= day.year <= _YEARS[1] else None
