"""Billing periods and their parts, reckoned anew from what the price book says.

The live path stores with every event which period and which part of it the event belongs to, and
charges by that. Here both follow from the customer's anchor day and time zone and from when its
subscriptions and price versions begin: calendar arithmetic of the reconciler's own.
"""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rating_engine.billing_period import BillingPeriod
from rating_engine.price_book.book import PricedSpan

_SECOND_US = 1_000_000
_MONTHS = 12
_STEP_S = 15 * 60
#: A customer's anchor day (1..31) and time zone (IANA); None: never subscribed to anything.
CalendarOf = Callable[[str], tuple[int, str] | None]
#: What prices a customer's period, in order (see `PriceBook.spans`).
SpansOf = Callable[[str, BillingPeriod], tuple[PricedSpan, ...]]
#: Who never subscribed has calendar months in UTC.
_PLAIN = (1, "UTC")


class OwnPart(NamedTuple):
    """From `start` (inclusive) to `end` (exclusive), Unix seconds, under one price of a meter.

    `plan` is "" where nothing is charged.
    """

    start: int
    end: int
    plan: str = ""
    price_version: int = 0


class OwnPeriods:
    """Periods and parts by customer; remembers calendars and the parts of shared plans."""

    def __init__(self, calendar_of: CalendarOf, spans_of: SpansOf) -> None:
        """Both as the price book has them."""
        self._calendar_of = calendar_of
        self._spans_of = spans_of
        self._starts: dict[tuple[int, str, int], int] = {}

    def is_known(self, customer_id: str) -> bool:
        """Whether the customer ever had a subscription."""
        return self._calendar_of(customer_id) is not None

    def beginning_in(self, customer_id: str, year: int, *, month: int) -> BillingPeriod:
        """The period that begins in a month."""
        calendar = self._calendar_of(customer_id) or _PLAIN
        return self._period(calendar, year * _MONTHS + month - 1)

    def is_whole(self, customer_id: str, period: BillingPeriod) -> bool:
        """Whether the period is one part for every meter."""
        if not self.is_known(customer_id):
            return True
        spans = self._spans_of(customer_id, period)
        length = (period.end - period.start) * _SECOND_US
        return not spans or (
            len(spans) == 1 and (spans[0].span.start, spans[0].span.end) == (0, length)
        )

    def holding(self, customer_id: str, second: int) -> BillingPeriod:
        """The period that holds a moment (Unix seconds)."""
        calendar = self._calendar_of(customer_id) or _PLAIN
        at = datetime.fromtimestamp(second, ZoneInfo(calendar[1]))
        month = at.year * _MONTHS + at.month
        while (period := self._period(calendar, month)).start > second:
            month -= 1
        return period

    def parts(self, customer_id: str, meter: str, *, period: BillingPeriod) -> list[OwnPart]:
        """The parts of a period for a meter, in order and without a gap."""
        found: list[OwnPart] = []
        at, before = period.start, None
        for priced in self._spans_of(customer_id, period):
            start = period.start + priced.span.start // _SECOND_US
            end = period.start + priced.span.end // _SECOND_US
            if start > at:
                found.append(OwnPart(at, start))
            terms = priced.span.charges.get(meter)
            price = terms and (terms, priced.span.plan.prorate_allowance)
            if before is not None and price == before[0]:
                found[-1] = found[-1]._replace(end=end)
            elif terms is None or priced.version is None:
                found.append(OwnPart(start, end))
            else:
                found.append(OwnPart(start, end, priced.version.plan, priced.version.version))
            at, before = end, (price,)
        if at < period.end:
            found.append(OwnPart(at, period.end))
        return found

    def _period(self, calendar: tuple[int, str], month: int) -> BillingPeriod:
        return BillingPeriod(self._start(calendar, month), self._start(calendar, month + 1))

    def _start(self, calendar: tuple[int, str], month: int) -> int:
        key = (*calendar, month)
        if key not in self._starts:
            year, month_at = divmod(month, _MONTHS)
            last = monthrange(year, month_at + 1)[1]
            day = date(year, month_at + 1, min(calendar[0], last))
            self._starts[key] = first_second(day, ZoneInfo(calendar[1]))
        return self._starts[key]


def first_second(day: date, zone: ZoneInfo) -> int:
    """The first moment (Unix seconds) at which the local date is `day`, or later if it is skipped.

    A clock change may skip midnight, have it twice, or skip the whole day.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)  # of two the first
    found = int((midnight.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    while _local_day(found, zone) < day:
        found += _STEP_S
    while _local_day(found - 1, zone) >= day:
        found -= _STEP_S
    return found


def _local_day(second: int, zone: ZoneInfo) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).astimezone(zone).date()
