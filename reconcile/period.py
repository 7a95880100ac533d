"""Which billing periods a month means: those that begin in it, in each customer's own time.

ClickHouse keeps a period's start as a moment, which is a midnight where the customer lives. From
the hour of that moment the local day follows, as zones lie between UTC-12 and UTC+14; only
where it is 10, 11 or 12 o'clock in UTC two days are possible, and the price book is asked.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from metering.errors import PermanentError
from reconcile.own_periods import OwnPeriods
from reconcile.query import READ_SETTINGS
from reconcile.spans import Span

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_DAY = timedelta(days=1)
#: At these hours in UTC it is midnight both far west, on the same day, and far east, on the next.
_FIRST_UNSURE, _LAST_UNSURE = 10, 12

_STARTS = """
SELECT DISTINCT toUnixTimestamp(period_start) FROM
(
    SELECT period_start FROM billing_periods UNION ALL SELECT period_start FROM invoices
    UNION ALL SELECT period_start FROM usage_totals UNION ALL SELECT posted_to FROM adjustments
)
WHERE toUnixTimestamp(period_start) BETWEEN %(low)s AND %(high)s
"""
_CUSTOMERS = """
SELECT DISTINCT customer_id, toUnixTimestamp(period_start) FROM
(
    SELECT customer_id, period_start FROM billing_periods
    UNION ALL SELECT customer_id, period_start FROM invoices
    UNION ALL SELECT customer_id, period_start FROM usage_totals
    UNION ALL SELECT customer_id, posted_to FROM adjustments
)
WHERE toUnixTimestamp(period_start) IN %(starts)s
"""


@dataclass(frozen=True, slots=True)
class Period:
    """A month, and the starts (Unix seconds) of the billing periods that begin in it.

    `excluded` are (customer, start) pairs whose start only looks like one of them. `customers` are
    those whose rows `condition` keeps. `following` are (customer, start) of rows of other systems
    that begin the customer's next period, though the month has not ended in UTC.
    """

    name: str
    first_day: date
    next_month: date
    starts: tuple[int, ...]
    excluded: tuple[tuple[str, int], ...] = ()
    customers: Span = field(default_factory=Span)
    following: frozenset[tuple[str, int]] = frozenset()

    def of(self, customers: Span) -> "Period":
        """The same for a range of customers."""
        excluded = tuple(pair for pair in self.excluded if customers.holds(pair[0]))
        return replace(self, customers=customers, excluded=excluded)

    @property
    def parameters(self) -> dict[str, Any]:
        """What `condition` refers to."""
        return {
            **self.customers.parameters,
            "starts": list(self.starts) or [0],
            "excluded": [*self.excluded, ("", 0)],
            "month_from": _unix(self.first_day),
            "month_until": _unix(self.next_month),
        }

    def condition(self, column: str = "period_start") -> str:
        """SQL that keeps rows of the period, by a column that holds a period's start."""
        text = f"{self.customers.condition} AND toUnixTimestamp({column}) IN %(starts)s"
        if self.excluded:
            text += f" AND (customer_id, toUnixTimestamp({column})) NOT IN %(excluded)s"
        return text

    def rows_inside(self, rows: pl.DataFrame, column: str) -> pl.Series:
        """Which rows of another system belong to the month; those that do not say when do, too.

        `column` holds when the row's period begins (Unix seconds), beside `customer_id`.
        """
        moments = rows[column].unique().drop_nulls().to_list()
        kept = [moment for moment in moments if self._holds(moment)]
        schema = {"customer_id": pl.String, column: pl.Int64}
        following = pl.DataFrame(list(self.following), schema=schema, orient="row")
        marked = rows.select("customer_id", column).join(
            following.with_columns(pl.lit(value=True).alias("is_next")),
            on=["customer_id", column], how="left", maintain_order="left",
        )  # fmt: skip
        is_inside = pl.col(column).is_null() | pl.col(column).is_in(kept)
        return marked.select(is_inside & pl.col("is_next").is_null()).to_series()

    def _holds(self, moment: int) -> bool:
        if moment in self.starts:
            return True
        return self.first_day <= datetime.fromtimestamp(moment, UTC).date() < self.next_month


def month_of(text: str) -> tuple[date, date]:
    """First day of a month like 2026-06 and of the next one. Raises `PermanentError`."""
    found = _MONTH.fullmatch(text)
    if found is None:
        msg = f"--period: expected a month like 2026-06, got {text!r}"
        raise PermanentError(msg)
    first = date(int(found[1]), int(found[2]), 1)
    return first, (first + 31 * _DAY).replace(day=1)


def find_period(client: Client, text: str, own: OwnPeriods) -> Period:
    """The billing periods that begin in a month. Raises `PermanentError` for what is none."""
    first, following = month_of(text)
    bounds = {"low": _unix(first - _DAY), "high": _unix(following)}
    rows = client.query(_STARTS, parameters=bounds, settings=READ_SETTINGS).result_rows
    starts = sorted(int(row[0]) for row in rows)
    sure = [at for at in starts if _is_sure(at) and first <= _local_day(at) < following]
    unsure = [at for at in starts if not _is_sure(at)]
    kept, excluded = _asked(client, unsure, own=own, month=(first.year, first.month))
    return Period(text, first, following, tuple(sorted({*sure, *kept})), tuple(excluded))


def following_starts(
    rows: pl.DataFrame, column: str, *, own: OwnPeriods, period: Period
) -> set[tuple[str, int]]:
    """See `Period.following`: east of UTC the next month begins on the last day of this one."""
    month_until = _unix(period.next_month)
    last_day = pl.col(column).is_between(month_until - 86_400, month_until - 1)
    pairs = rows.filter(last_day).select("customer_id", column).unique()
    first = period.first_day
    return {
        (customer, moment)
        for customer, moment in pairs.iter_rows()
        if own.beginning_in(customer, first.year, month=first.month).end == moment
    }


def _asked(
    client: Client, unsure: list[int], *, own: OwnPeriods, month: tuple[int, int]
) -> tuple[set[int], list[tuple[str, int]]]:
    """Starts that some customer's period of the month has, and those who have another."""
    kept: set[int] = set()
    excluded: list[tuple[str, int]] = []
    if not unsure:
        return kept, excluded
    parameters = {"starts": unsure}
    for customer_id, start in client.query(_CUSTOMERS, parameters=parameters).result_rows:
        who = str(customer_id)
        same_day = datetime.fromtimestamp(int(start), UTC).date()
        in_month = (same_day.year, same_day.month) == month
        if own.is_known(who):
            in_month = own.beginning_in(who, month[0], month=month[1]).start == start
        if in_month:
            kept.add(int(start))
        else:
            excluded.append((str(customer_id), int(start)))
    return kept, [pair for pair in excluded if pair[1] in kept]


def _is_sure(moment: int) -> bool:
    return not _FIRST_UNSURE <= datetime.fromtimestamp(moment, UTC).hour <= _LAST_UNSURE


def _local_day(moment: int) -> date:
    at = datetime.fromtimestamp(moment, UTC)
    return at.date() if at.hour < _FIRST_UNSURE else at.date() + _DAY


def _unix(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def moment_text(unix: int | None) -> str:
    """Unix seconds as RFC 3339 in UTC; "" for None or 0."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if unix else ""
