"""Check (a): live totals against raw history, by customer, meter, group and part of the period.

Workers may be writing meanwhile, and both sides are read a moment apart: what differs is read once
more after a pause, and counts only where it still differs by the same numbers.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from metering.catalog import Meter
from reconcile.agreements import Agreements
from reconcile.cards import Cards, RoundingRule
from reconcile.period import Period, moment_text
from reconcile.query import READ_SETTINGS
from reconcile.usage import EVENTS, meter_parameters, quantity_where
from reconcile.variance import Check, Finding, Subject, VarianceClass, text_of

_PAUSE_S = 2
_KEY = "customer_id, meter, `group`, period_start, part_start"
#: Totals may or may not have been corrected for what was taken back: either is right.
_COMPARED = f"""
SELECT {_KEY}, max(is_total) AS in_totals, max(is_raw) AS in_raw, max(rate_card) AS card,
       toString(reinterpretAsInt256(sum(total))) AS t, toString(reinterpretAsInt256(sum(raw))) AS r
FROM
(
    SELECT customer_id, toString(meter) AS meter, `group`,
           toInt64(toUnixTimestamp(t.period_start)) AS period_start,
           toInt64(toUnixTimestamp(t.part_start)) AS part_start, 1 AS is_total, 0 AS is_raw,
           argMax(t.card, (t.updated_at, t.absorbed_offset)) AS rate_card,
           multiIf(any(t.aggregation) = 'max', max(t.quantity),
               any(t.aggregation) = 'latest',
               argMax(t.quantity, (t.last_occurred_at, t.last_identity)), sum(t.quantity)) AS total,
           toDecimal256(0, 12) AS raw, toDecimal256(0, 12) AS raw_all
    FROM (SELECT * FROM usage_totals FINAL WHERE {{period}} AND events > 0) AS t
    GROUP BY customer_id, meter, `group`, period_start, part_start
    UNION ALL
    SELECT customer_id, meter, `group`, toInt64(toUnixTimestamp(e.period_start)) AS period_start,
           toInt64(toUnixTimestamp(e.part_start)) AS part_start, 0, countIf(taken_back_us = 0) > 0,
           argMax(event_card, (record_time, event_card)), toDecimal256(0, 12),
           {quantity_where("taken_back_us = 0")}, {quantity_where("{all}")}
    FROM ({EVENTS}) AS e
    GROUP BY customer_id, meter, `group`, period_start, part_start, how
)
GROUP BY {_KEY}
HAVING (sum(total) != sum(raw) AND sum(total) != sum(raw_all)) OR (in_totals != in_raw
    AND (sum(total) != 0 OR sum(raw) != 0))
ORDER BY {_KEY}
"""
#: Copies of an identity at other coordinates, asked only for customers whose totals differ.
_TWICE = f"""
SELECT customer_id, toString(meter), `group`, toInt64(toUnixTimestamp(period_start)),
       toInt64(toUnixTimestamp(part_start)),
       toString(reinterpretAsInt256(sum(toDecimal256(quantity, 12))))
FROM
(
    SELECT DISTINCT {_KEY}, quantity, stream, partition, offset, `index`
    FROM usage_events
    WHERE {{period}} AND NOT disregarded AND customer_id IN %(customers)s
      AND transform(meter, %(meters)s, %(aggregations)s, 'sum') = 'sum'
      AND (stream, partition, offset, `index`) NOT IN
          (SELECT stream, partition, offset, `index` FROM usage_events FINAL
           WHERE customer_id IN %(customers)s)
)
GROUP BY {_KEY}
"""
_RETRACTED = "SELECT count() FROM retracted_events FINAL WHERE is_retracted"


class _Differing(NamedTuple):
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


def check_totals(
    client: Client, period: Period, *, meters: Mapping[str, Meter], cards: Cards,
    agreements: Agreements,
) -> list[Finding]:  # fmt: skip
    """Totals that are not raw history added up, valued by their own rate card."""
    differing = _read(client, period, meters)
    if differing:
        time.sleep(_PAUSE_S)
        again = set(_read(client, period, meters))
        differing = [each for each in differing if each in again]
    return [
        finding
        for each in differing
        for finding in _findings(each, cards=cards, agreements=agreements)
    ]


def _read(client: Client, period: Period, meters: Mapping[str, Meter]) -> list[_Differing]:
    bound: dict[str, Any] = {**period.parameters, **meter_parameters(meters)}
    anything = client.query(_RETRACTED).result_rows[0][0]
    # where nothing was taken back, the same words twice are added up once
    sql = _COMPARED.replace("{all}", "1" if anything else "taken_back_us = 0")
    sql = sql.replace("{period}", period.condition())
    rows = client.query(sql, parameters=bound, settings=READ_SETTINGS).result_rows
    if not rows:
        return []
    bound["customers"] = sorted({row[0] for row in rows})
    sql = _TWICE.replace("{period}", period.condition())
    copies = client.query(sql, parameters=bound, settings=READ_SETTINGS).result_rows
    twice = {tuple(row[:-1]): int(row[-1]) for row in copies}
    return [
        _Differing(*(*row[:-2], *map(int, row[-2:]), twice.get(tuple(row[:5]), 0))) for row in rows
    ]


def _findings(each: _Differing, *, cards: Cards, agreements: Agreements) -> list[Finding]:
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
