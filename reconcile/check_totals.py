"""Check (a): live totals against raw history, by customer, meter, group and part of the period.

Workers may be writing meanwhile, and both sides are read a moment apart: what differs is read once
more after a pause, and counts only where it still differs by the same numbers (see `run.py`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from reconcile.agreements import Agreements
from reconcile.cards import Cards, RoundingRule
from reconcile.period import Period, moment_text
from reconcile.query import READ_SETTINGS, frame
from reconcile.usage import History
from reconcile.variance import Check, Finding, Subject, VarianceClass, text_of

_KEY = ["customer_id", "meter", "group", "period_start", "part_start"]
_GROUP = "customer_id, meter, `group`, t.period_start, t.part_start"
_TOTALS = f"""
SELECT customer_id, toString(meter) AS meter, `group`,
       toInt64(toUnixTimestamp(t.period_start)) AS period_start,
       toInt64(toUnixTimestamp(t.part_start)) AS part_start,
       toUInt64(bitAnd(max(bitShiftLeft(toUInt256(toUnixTimestamp(t.updated_at)), 128)
           + bitShiftLeft(toUInt256(t.absorbed_offset), 64) + toUInt256(t.card)),
           toUInt256(18446744073709551615))) AS total_card, toDecimal128({{quantity}}, 12) AS total
FROM (SELECT * FROM usage_totals FINAL WHERE {{period}} AND events > 0 AND {{which}}) AS t
GROUP BY {_GROUP}
"""
_LEVEL = "aggregation IN ('max', 'latest')"
_LEVEL_QUANTITY = """if(any(t.aggregation) = 'max', max(t.quantity),
    argMax(t.quantity, (t.last_occurred_at, t.last_identity)))"""
#: Copies of an identity at other coordinates, asked only for customers whose totals differ.
_TWICE = """
SELECT customer_id, toString(meter), `group`, toInt64(toUnixTimestamp(period_start)),
       toInt64(toUnixTimestamp(part_start)),
       toString(reinterpretAsInt256(sum(toDecimal256(quantity, 12))))
FROM
(
    SELECT DISTINCT customer_id, meter, `group`, period_start, part_start, quantity, stream,
        partition, offset, `index`
    FROM {events}
    WHERE {period} AND NOT disregarded AND customer_id IN %(customers)s
      AND transform(meter, %(meters)s, %(aggregations)s, 'sum') = 'sum'
      AND (stream, partition, offset, `index`) NOT IN
          (SELECT stream, partition, offset, `index` FROM {events} FINAL
           WHERE customer_id IN %(customers)s)
)
GROUP BY customer_id, meter, `group`, period_start, part_start
"""
#: Customers that one question names.
_CUSTOMERS_AT_ONCE = 1000
_ZERO = pl.lit(0, pl.Int128)


class Differing(NamedTuple):
    """A total that is not raw history added up; quantities are 10^-12."""

    customer_id: str
    meter: str
    group: str
    period_start: int
    part_start: int
    in_totals: bool
    in_raw: bool
    card: int
    total: int
    raw: int
    #: Of copies of an identity at other coordinates, which raw history folds into the first.
    twice: int


def differing_totals(history: History, usage: pl.DataFrame, *, period: Period) -> list[Differing]:
    """Where the totals of the period are not `usage` (see `read_usage`).

    Totals may or may not have been corrected for what was taken back: either is right.
    """
    bound = period.parameters
    sums = [("sum(t.quantity)", f"NOT ({_LEVEL})"), (_LEVEL_QUANTITY, _LEVEL)]
    totals = pl.concat(
        frame(
            history.client,
            _TOTALS.format(quantity=quantity, period=period.condition(), which=which), bound,
        )
        for quantity, which in sums[: 1 + history.has_levels]
    )  # fmt: skip
    joined = totals.join(usage, on=_KEY, how="full", coalesce=True).with_columns(
        pl.col("total").is_not_null().alias("in_totals"),
        (pl.col("n_now").fill_null(0) > 0).alias("in_raw"),
        *(pl.col(name).fill_null(_ZERO) for name in ("total", "q_now", "q_all")),
        pl.coalesce("usage_card", "total_card").alias("card"),
    )
    is_off = (pl.col("total") != pl.col("q_now")) & (pl.col("total") != pl.col("q_all"))
    is_alone = (pl.col("in_totals") != pl.col("in_raw")) & (
        (pl.col("total") != 0) | (pl.col("q_now") != 0)
    )
    found = joined.filter(is_off | is_alone).sort(_KEY)
    columns = (*_KEY, "in_totals", "in_raw", "card", "total", "q_now")
    rows: list[tuple[Any, ...]] = found.select(columns).rows()
    twice = _copies(history, period, customers=sorted({row[0] for row in rows}))
    return [Differing(*(*row, twice.get(row[:5], 0))) for row in rows]


def totals_findings(
    differing: Sequence[Differing], *, cards: Cards, agreements: Agreements
) -> list[Finding]:
    """Totals that are not raw history added up, valued by their own rate card."""
    return [
        finding
        for each in differing
        for finding in _findings(each, cards=cards, agreements=agreements)
    ]


def _copies(
    history: History, period: Period, *, customers: list[str]
) -> dict[tuple[Any, ...], int]:
    """Units that raw history folds into another coordinate's, by key."""
    sql = _TWICE.format(period=period.condition(), events=history.events)
    found: dict[tuple[Any, ...], int] = {}
    for at in range(0, len(customers), _CUSTOMERS_AT_ONCE):
        bound = {
            **period.parameters, **history.parameters,
            "customers": customers[at : at + _CUSTOMERS_AT_ONCE],
        }  # fmt: skip
        rows = history.client.query(sql, parameters=bound, settings=READ_SETTINGS).result_rows
        found |= {tuple(row[:-1]): int(row[-1]) for row in rows}
    return found


def _findings(each: Differing, *, cards: Cards, agreements: Agreements) -> list[Finding]:
    agreement = agreements.get((each.customer_id, each.period_start))
    rule = agreement.rule if agreement else RoundingRule()
    card = cards.get(each.card)

    def value(quantity: int) -> int:
        return rule.rounded(card.charge(quantity)) if card and quantity else 0

    def finding(variance: VarianceClass, amount: int, reason: str) -> Finding:
        return Finding(
            check=Check.TOTALS, variance=variance, amount=amount, reason=reason,
            currency=card.currency if card else (agreement.currency if agreement else ""),
            subject=Subject(
                customer_id=each.customer_id, meter=each.meter, group=each.group,
                period_start=moment_text(each.period_start),
                part_start=moment_text(each.part_start),
            ),
            expected_quantity=each.raw, got_quantity=each.total,
            expected_amount=value(each.raw), got_amount=value(each.total),
        )  # fmt: skip

    off = each.total - each.raw
    counted_once = each.total
    found = []
    if each.twice and abs(off - each.twice) < abs(off):
        counted_once -= each.twice
        amount = value(each.total) - value(counted_once)
        reason = f"{text_of(each.twice)} units stand at a second coordinate and are counted there"
        found.append(finding(VarianceClass.DUPLICATE, amount, reason))
    if counted_once != each.raw or not found:
        variance = VarianceClass.WRONG_QUANTITY
        if not each.in_raw:
            variance = VarianceClass.MISSING_IN_USAGE
        elif not each.in_totals:
            variance = VarianceClass.MISSING_IN_INVOICE
        told = f"raw history has {text_of(each.raw)}, totals have {text_of(each.total)}"
        found.append(finding(variance, value(counted_once) - value(each.raw), told))
    return found
