"""What two subscriptions of one customer, one after the other, may not be to each other."""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from metering.rfc3339 import written
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.plan import Plan
from rating_engine.price_book.subscription import NEVER_US, Columns

_SECOND_US = 1_000_000


def conflicts(
    columns: Columns, pair: tuple[int, int], *, other: str, plans: Mapping[str, Plan]
) -> Iterator[tuple[str, str, str]]:
    """Yield field, expected and got of every conflict; `pair` are rows in order of time.

    They do not overlap, have one billing calendar, and one currency and rounding where a billing
    period holds both. `other` is the place of the first.
    """
    earlier, later = pair
    name, customer = columns.ids[earlier], columns.customers[later]
    began, ended = columns.from_us[later], columns.until_us[earlier]
    if began < ended:
        yield "from", f"no overlap with {name!r} of {customer!r} ({other})", written(began)
    calendar = columns.calendars[columns.calendar[earlier]]
    own = columns.calendars[columns.calendar[later]]
    if calendar != own:
        expected = f"the billing calendar of {name!r} ({other}), {_shown(calendar)}"
        yield "anchor_day, time_zone", expected, _shown(own)
        return
    money = _money(plans[columns.plans[columns.plan[earlier]]])
    own_money = _money(plans[columns.plans[columns.plan[later]]])
    if money != own_money and ended != NEVER_US and began < _period_end_us(calendar, ended - 1):
        expected = f"{money}, in which the billing period began ({name!r}, {other})"
        yield "plan", expected, own_money


def _money(plan: Plan) -> str:
    return f"{plan.terms.currency.code} rounded {plan.terms.rounding}"


@lru_cache(maxsize=4096)
def _period_end_us(calendar: BillingCalendar, moment_us: int) -> int:
    return calendar.period_of(moment_us).end * _SECOND_US


def _shown(calendar: BillingCalendar) -> str:
    return f"day {calendar.anchor_day} in {calendar.time_zone}"
