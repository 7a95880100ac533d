"""Whether events count in the billing period, and the part of it, in which they occurred.

Which one that is comes from `OwnPeriods`, not from what is stored with the events. In columns for
customers under one price; singly where a subscription or a price version begins within the period.
What counts elsewhere than it occurred is named event by event, like what counts twice.
"""

from collections.abc import Iterator
from datetime import date

import polars as pl

from rating_engine.billing_period import BillingPeriod
from reconcile.doubles import Double
from reconcile.own_periods import OwnPart, OwnPeriods
from reconcile.period import Period, moment_text
from reconcile.query import READ_SETTINGS
from reconcile.usage import History
from reconcile.variance import Check, Finding, Subject, VarianceClass, text_of

_SECOND_US = 1_000_000
_KEY = ("customer_id", "meter", "period_start", "part_start", "first_us", "last_us")
_OUTSIDE = """
SELECT toString(meter), id, hex(identity), toString(stream), partition, offset, `index`
FROM {events} FINAL
WHERE NOT disregarded AND customer_id = %(customer)s AND meter = %(meter)s
  AND toUnixTimestamp(period_start) = %(period_start)s
  AND toUnixTimestamp(part_start) = %(part_start)s
  AND NOT (toUnixTimestamp64Micro(occurred_at) >= %(from_us)s
           AND toUnixTimestamp64Micro(occurred_at) < %(until_us)s)
ORDER BY stream, partition, offset, `index`
LIMIT 100000
"""
#: No period is longer: what is stored farther from when it occurred is of no period at all.
_STRAYS = """
SELECT customer_id, toString(meter), `group`, toInt64(toUnixTimestamp(s.period_start)), count(),
       toString(reinterpretAsInt256(sum(toDecimal256(quantity, 12))))
FROM
(
    SELECT customer_id, meter, `group`, period_start, quantity FROM {events} FINAL
    WHERE NOT disregarded AND toUnixTimestamp(occurred_at) >= %(month_from)s
      AND toUnixTimestamp(occurred_at) < %(month_until)s
      AND (period_start > occurred_at OR period_start < occurred_at - INTERVAL 63 DAY)
) AS s
GROUP BY customer_id, meter, `group`, s.period_start ORDER BY ALL
LIMIT 10000
"""


def read_misplaced(
    history: History, usage: pl.DataFrame, *, own: OwnPeriods, period: Period
) -> list[Double]:
    """Events of `usage` (see `read_usage`) that occurred outside the part that they count in."""
    found = []
    for row, part in _doubtful(usage, own=own, first_day=period.first_day):
        customer, meter, period_start, part_start, _, _ = row
        bound = {
            "customer": customer, "meter": meter, "period_start": period_start,
            "part_start": part_start, "from_us": part.start * _SECOND_US,
            "until_us": part.end * _SECOND_US,
        }  # fmt: skip
        sql = _OUTSIDE.format(events=history.events)
        rows = history.client.query(sql, parameters=bound, settings=READ_SETTINGS).result_rows
        found += [
            Double("period", customer, meter, id_, identity, (stream, partition, offset, index))
            for meter, id_, identity, stream, partition, offset, index in rows
        ]
    return list(dict.fromkeys(found))


def stray_findings(history: History, period: Period) -> list[Finding]:
    """Events of the month that are stored with a period which cannot be theirs, whosever."""
    sql = _STRAYS.format(events=history.events)
    rows = history.client.query(
        sql, parameters=period.parameters, settings=READ_SETTINGS
    ).result_rows
    return [
        Finding(
            check=Check.LINES, variance=VarianceClass.WRONG_QUANTITY, currency="", amount=0,
            reason=f"{count} events, {text_of(int(quantity))} units, stand in a period that begins "
            f"{moment_text(start) or 'never'}, in which they did not occur",
            subject=Subject(
                customer_id=customer, meter=meter, group=group, period_start=moment_text(start)
            ),
            expected_quantity=int(quantity), got_quantity=0,
        )
        for customer, meter, group, start, count, quantity in rows
    ]  # fmt: skip


def _doubtful(
    usage: pl.DataFrame, *, own: OwnPeriods, first_day: date
) -> Iterator[tuple[tuple[str, str, int, int, int, int], OwnPart]]:
    """Keys with an event outside their part, and where that lies; an empty part is none of ours."""
    periods = _periods(usage["customer_id"].unique().to_list(), own=own, first_day=first_day)
    joined = usage.join(periods, on="customer_id", how="left")
    is_plain = (
        pl.col("is_whole") & (pl.col("period_start") == pl.col("own_start"))
        & (pl.col("part_start") == pl.col("own_start"))
        & (pl.col("first_us") >= pl.col("own_start") * _SECOND_US)
        & (pl.col("last_us") < pl.col("own_end") * _SECOND_US)
    )  # fmt: skip
    doubted = joined.filter(~is_plain).select(*_KEY, "own_start", "own_end")
    for *row, own_start, own_end in doubted.iter_rows():
        customer, meter, period_start, part_start, first_us, last_us = row
        part = OwnPart(0, 0)
        if period_start == own_start:
            period = BillingPeriod(own_start, own_end)
            parts = own.parts(customer, meter, period=period)
            part = next((each for each in parts if each.start == part_start), part)
        if not part.start * _SECOND_US <= first_us <= last_us < part.end * _SECOND_US:
            yield (customer, meter, period_start, part_start, first_us, last_us), part


def _periods(customers: list[str], *, own: OwnPeriods, first_day: date) -> pl.DataFrame:
    """Of each customer the period that begins in the month, and whether one price holds in it."""
    rows = []
    for customer in customers:
        period = own.beginning_in(customer, first_day.year, month=first_day.month)
        is_whole = own.is_whole(customer, period)
        rows.append((customer, period.start, period.end, is_whole))
    schema = {
        "customer_id": pl.String, "own_start": pl.Int64, "own_end": pl.Int64,
        "is_whole": pl.Boolean,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")
