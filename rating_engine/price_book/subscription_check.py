"""Checking one row of subscriptions and adding it to the columns; a million rows in seconds."""

from functools import lru_cache

from metering.rfc3339 import written
from rating_engine.billing_period import ANCHOR_DAY_MAX, BillingCalendar
from rating_engine.price_book.plan import Plan
from rating_engine.price_book.plan_fields import ANCHOR, BORDER, ZONE, border_us, is_zone, shown
from rating_engine.price_book.read_plans import PlansRead
from rating_engine.price_book.subscription import FOLLOWS, NEVER_US, Columns
from rating_engine.price_book.subscription_rows import Row

_TEXT_MAX = 256
_TEXT = f"text of 1 to {_TEXT_MAX} characters without control characters"
_DIGITS_MAX = 7

_border_us = lru_cache(maxsize=1 << 16)(border_us)


class RowCheck:
    """Grows `columns` by every row that is right. `faults` are those of the last that was not.

    A fault is the field, what was expected, what came. None: it names a plan that has faults.
    """

    def __init__(self, plans: PlansRead) -> None:
        """`plans` are those that a row may name; of a faulty one nothing more is told."""
        self.columns = Columns(plans=list(plans.plans))
        self.faults: list[tuple[str, str, str]] = []
        self._plans = plans
        self._plan_at = {key: at for at, key in enumerate(plans.plans)}
        self._calendar_at: dict[tuple[int, str], int] = {}

    def add(self, row: Row) -> bool:
        """Check `row` and add it; False where it has faults."""
        self.faults = []
        subscription_id, customer, key, version, from_, until, day, zone = row.values
        if not _is_text(subscription_id):
            self._fault("id", _TEXT, got=subscription_id)
        if not _is_text(customer):
            self._fault("customer_id", _TEXT, got=customer)
        plan = self._plans.plans.get(key) if isinstance(key, str) else None
        if plan is None and not self._plans.is_faulty(key):
            self._fault("plan", "a plan of plans.yaml", got=key)
        pinned = FOLLOWS if version is None else self._pinned(plan, version)
        from_us = self._border("from", from_)
        until_us = NEVER_US if until is None else self._border("until", until)
        if until_us <= from_us and not self.faults:
            self._fault("until", "a time after from", got=until)
        calendar = self._calendar(plan, day, zone=zone)
        if plan is not None and not self.faults:
            self._check_prices_from(plan, pinned, from_us=from_us)
        if self.faults or plan is None:
            return False
        columns = self.columns
        columns.ids.append(str(subscription_id))
        columns.customers.append(str(customer))
        columns.plan.append(self._plan_at[plan.key])
        columns.pinned.append(pinned)
        columns.from_us.append(from_us)
        columns.until_us.append(until_us)
        columns.calendar.append(calendar)
        return True

    def _fault(self, field: str, expected: str, *, got: object) -> None:
        self.faults.append((field, expected, shown(got)))

    def _border(self, field: str, value: object) -> int:
        read = _border_us(value) if isinstance(value, str) else None
        if read is None:
            self._fault(field, BORDER, got=value)
            return 0
        return read

    def _pinned(self, plan: Plan | None, version: object) -> int:
        number = _whole(version)
        if not number or (plan is not None and plan.version(number) is None):
            numbers = () if plan is None else plan.versions
            known = ", ".join(str(each.version) for each in numbers)
            self._fault("version", f"a version of the plan ({known})", got=version)
        return number or FOLLOWS

    def _check_prices_from(self, plan: Plan, pinned: int, *, from_us: int) -> None:
        version = plan.version(pinned) if pinned else plan.versions[0]
        assert version is not None, pinned
        if from_us < version.effective_us:
            expected = f"{written(version.effective_us)} or later, when {version.plan} version "
            self._fault("from", f"{expected}{version.version} takes effect", got=written(from_us))

    def _calendar(self, plan: Plan | None, day: object, *, zone: object) -> int:
        default = BillingCalendar() if plan is None else plan.calendar
        number = default.anchor_day if day is None else _whole(day)
        if number is None or not 1 <= number <= ANCHOR_DAY_MAX:
            self._fault("anchor_day", ANCHOR, got=day)
            number = 1
        name = default.time_zone if zone is None else zone
        if not isinstance(name, str) or ((number, name) not in self._calendar_at):
            if not isinstance(name, str) or not is_zone(name):
                self._fault("time_zone", ZONE, got=zone)
                return 0
            self._calendar_at[number, name] = len(self.columns.calendars)
            self.columns.calendars.append(BillingCalendar(number, name))
        return self._calendar_at[number, name]


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= _TEXT_MAX:
        return False
    return value.isprintable() or min(value) >= " "


def _whole(value: object) -> int | None:
    """A whole number, or the text of one as CSV has it."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS_MAX:
        return int(value)
    return None
