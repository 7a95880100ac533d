"""Who has which plan, and since when: a million subscriptions in columns, looked up in a moment."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rating_engine.billing_period import BillingCalendar

#: The end of what has no end, in Unix microseconds.
NEVER_US = (1 << 63) - 1
#: The version of a subscription that follows its plan.
FOLLOWS = 0


class Subscription(NamedTuple):
    """A customer has `plan` from `from_us` (inclusive) until `until_us` (exclusive).

    Both are Unix microseconds UTC; `NEVER_US` where it has no end. `pinned` is the number of a
    version, `FOLLOWS` (0) where whatever is in effect counts.
    """

    id: str
    customer_id: str
    plan: str
    pinned: int
    from_us: int
    until_us: int
    calendar: BillingCalendar


@dataclass(slots=True)
class Columns:
    """Subscriptions as columns. `plan` and `calendar` are positions in `plans` and `calendars`."""

    plans: list[str] = field(default_factory=list)
    calendars: list[BillingCalendar] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    plan: "array[int]" = field(default_factory=lambda: array("i"))
    pinned: "array[int]" = field(default_factory=lambda: array("i"))
    from_us: "array[int]" = field(default_factory=lambda: array("q"))
    until_us: "array[int]" = field(default_factory=lambda: array("q"))
    calendar: "array[int]" = field(default_factory=lambda: array("i"))

    def ordered(self, order: Sequence[int]) -> "Columns":
        """The same rows, in `order`."""
        return Columns(
            self.plans,
            self.calendars,
            [self.ids[at] for at in order],
            [self.customers[at] for at in order],
            *(
                array(column.typecode, [column[at] for at in order])
                for column in (
                    self.plan, self.pinned, self.from_us, self.until_us, self.calendar
                )
            ),
        )  # fmt: skip


class Subscriptions:
    """All subscriptions, by customer and time. Those of one customer never overlap."""

    __slots__ = ("_columns", "_counts", "_first")

    def __init__(self, columns: Columns) -> None:
        """`columns` are in order of customer and beginning, and were checked."""
        self._columns = columns
        #: Where a customer's rows begin; how many, where there is more than one.
        self._first: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        for at, customer in enumerate(columns.customers):
            if self._first.setdefault(customer, at) != at:
                self._counts[customer] = self._counts.get(customer, 1) + 1

    def __len__(self) -> int:
        return len(self._columns.ids)

    def __iter__(self) -> Iterator[Subscription]:
        return map(self._row, range(len(self)))

    def __contains__(self, customer_id: object) -> bool:
        return customer_id in self._first

    @property
    def customers(self) -> int:
        """How many customers have one."""
        return len(self._first)

    def at(self, customer_id: str, moment_us: int) -> Subscription | None:
        """Find the one of a customer at a moment (Unix microseconds UTC)."""
        at = self._place(customer_id, moment_us)
        return None if at < 0 else self._row(at)

    def throughout(self, customer_id: str, start_us: int, *, end_us: int) -> tuple[str, int] | None:
        """Plan and pinned version of the one that a customer has for all of a stretch of time.

        None where there is no such one. The live path asks it for a total that it has not seen,
        not for every event.
        """
        at = self._place(customer_id, start_us)
        columns = self._columns
        if at < 0 or columns.until_us[at] < end_us:
            return None
        return columns.plans[columns.plan[at]], columns.pinned[at]

    def between(self, customer_id: str, start_us: int, *, end_us: int) -> list[Subscription]:
        """Find those of a customer that touch `start_us` (inclusive) to `end_us` (exclusive)."""
        first = self._first.get(customer_id)
        if first is None:
            return []
        rows = (self._row(first + at) for at in range(self._counts.get(customer_id, 1)))
        return [row for row in rows if row.from_us < end_us and row.until_us > start_us]

    def calendar_of(self, customer_id: str) -> BillingCalendar | None:
        """A customer's calendar, the same for all time; None for one without a subscription."""
        first = self._first.get(customer_id)
        if first is None:
            return None
        return self._columns.calendars[self._columns.calendar[first]]

    def _place(self, customer_id: str, moment_us: int) -> int:
        """Row of the one at a moment; -1 where there is none."""
        first = self._first.get(customer_id)
        if first is None:
            return -1
        columns = self._columns
        last = first + self._counts.get(customer_id, 1)
        at = bisect_right(columns.from_us, moment_us, first, last) - 1
        return at if at >= first and moment_us < columns.until_us[at] else -1

    def _row(self, at: int) -> Subscription:
        columns = self._columns
        return Subscription(
            columns.ids[at],
            columns.customers[at],
            columns.plans[columns.plan[at]],
            columns.pinned[at],
            columns.from_us[at],
            columns.until_us[at],
            columns.calendars[columns.calendar[at]],
        )
