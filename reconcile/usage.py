"""What was used, added up from raw history by SQL of the reconciler's own.

Per customer, meter, group and part of a billing period, in one pass over raw history:

    q_now    all that counts
    q_all    with what was taken back since
    q_cut    of `q_now`, what the invoice could see: below its cut, and not taken back before it
    q_once   of `q_now`, without what is there twice (see `doubles.py`)
    n_now, n_cut                        how many events those are
    first_us, last_us                   when the first and the last of all of them occurred
    cards, usage_card                   rate cards that rated them, and that of the newest
    received_at, source, batch_id, ...  of the newest to arrive
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from metering.catalog import Aggregation, Meter
from reconcile.cuts import Cut
from reconcile.period import Period
from reconcile.query import frame

_ADDED_UP = (Aggregation.SUM, Aggregation.COUNT)
_LEVELS = """multiIf(
        how = 'unique_count', toDecimal256(uniqExactIf(distinct_value, {condition}), 12),
        how = 'max', toDecimal256(maxIf(quantity, {condition}), 12),
        toDecimal256(argMaxIf(quantity, (occurred_at, identity), {condition}), 12))"""
_SUMS = """if(how = 'count', toDecimal256(countIf({condition}), 12),
        sumIf(toDecimal256(quantity, 12), {condition}))"""
#: Raw history that is billed, with how its meters aggregate and what was taken back.
_EVENTS = """
    SELECT e.customer_id AS customer_id, toString(e.meter) AS meter, e.`group` AS `group`,
           e.period_start AS period_start, e.part_start AS part_start, e.quantity AS quantity,
           e.occurred_at AS occurred_at, e.identity AS identity, e.stream AS stream,
           e.partition AS partition, e.offset AS offset, e.`index` AS `index`,
           e.card AS event_card, e.record_time AS record_time, toString(e.source) AS event_source,
           e.batch_id AS event_batch,
           toString(e.schema_version) AS event_schema, e.subject AS event_subject,
           transform(meter, %(meters)s, %(aggregations)s, 'sum') AS how,
           {distinct} AS distinct_value, r.recorded_us AS taken_back_us
    FROM
    (
        SELECT * FROM {events} FINAL
        WHERE NOT disregarded AND {period} AND meter {which} %(special_meters)s
    ) AS e
    LEFT JOIN
    (
        SELECT customer_id, toString(meter) AS meter, identity,
               toUnixTimestamp64Micro(recorded_at) AS recorded_us
        FROM retracted_events FINAL WHERE is_retracted AND {customers}
    ) AS r ON r.customer_id = e.customer_id AND r.meter = toString(e.meter)
        AND r.identity = e.identity
"""
_DISTINCT = """if(meter IN %(unique_meters)s, JSONExtractString(e.dimensions,
               transform(meter, %(meters)s, %(counted)s, '')), '')"""
_NOW = "taken_back_us = 0"
_CUT = "offset < cut_offset AND (taken_back_us = 0 OR taken_back_us > %(cut_us)s)"
_CUTS = """
    SELECT place.1 AS stream, place.2 AS partition, place.3 AS cut_offset FROM
    (
        SELECT arrayJoin(arrayZip(%(cut_streams)s, %(cut_partitions)s, %(cut_offsets)s)) AS place
    )
"""
#: The newest card is found as one number: a tuple of both costs three times as much.
_USAGE = f"""
SELECT customer_id, meter, `group`, toInt64(toUnixTimestamp(period_start)) AS period_start,
       toInt64(toUnixTimestamp(part_start)) AS part_start,
       toDecimal128({{now}}, 12) AS q_now, toInt64(countIf({_NOW})) AS n_now,
       toDecimal128({{all}}, 12) AS q_all,
       toDecimal128({{cut}}, 12) AS q_cut, toInt64(countIf({_CUT})) AS n_cut,
       toDecimal128({{once}}, 12) AS q_once,
       toUnixTimestamp64Micro(min(occurred_at)) AS first_us,
       toUnixTimestamp64Micro(max(occurred_at)) AS last_us,
       groupUniqArray(event_card) AS cards,
       toUInt64(bitAnd(toUInt128(18446744073709551615), max(toUInt128(event_card)
           + bitShiftLeft(toUInt128(toUnixTimestamp64Milli(record_time)), 64)))) AS usage_card,
       toInt64(toUnixTimestamp(max(record_time))) AS received_at,
       argMax(event_source, record_time) AS source,
       argMax(event_batch, record_time) AS batch_id,
       argMax(event_schema, record_time) AS schema_version,
       if(min(event_subject) = max(event_subject), any(event_subject), '') AS subject
FROM
(
    SELECT e.*, c.cut_offset AS cut_offset
    FROM ({_EVENTS}) AS e
    LEFT JOIN ({_CUTS}) AS c ON c.stream = e.stream AND c.partition = e.partition
)
GROUP BY customer_id, meter, `group`, period_start, part_start, how
"""
_HAS = """
SELECT (SELECT count() FROM (SELECT 1 FROM retracted_events LIMIT 1)) > 0,
    (SELECT count() FROM (SELECT 1 FROM usage_totals WHERE aggregation IN ('max', 'latest')
     LIMIT 1)) > 0
"""


@dataclass(frozen=True, slots=True)
class History:
    """Raw history: its table, how its meters add up, and what is to be expected of it.

    `has_retracted`: something of it was taken back. `has_levels`: some totals are no sums. A meter
    that is not known adds up. `events` is `usage_events`, or a table of the same columns
    and order.
    """

    client: Client
    meters: Mapping[str, Meter]
    has_retracted: bool
    has_levels: bool
    events: str = "usage_events"

    @property
    def special(self) -> list[str]:
        """Meters whose quantity is not a sum: they cost more, and are asked by themselves."""
        return [key for key, each in self.meters.items() if each.aggregation not in _ADDED_UP]

    @property
    def parameters(self) -> dict[str, Any]:
        """What queries refer to."""
        meters = self.meters
        counted = {key: each.counted_dimension or "" for key, each in meters.items()}
        return {
            "meters": list(meters) or [""],
            "aggregations": [str(each.aggregation) for each in meters.values()] or ["sum"],
            "unique_meters": [key for key, name in counted.items() if name] or [""],
            "counted": list(counted.values()) or [""],
            "special_meters": self.special or [""],
        }


def open_history(
    client: Client, meters: Mapping[str, Meter], *, events: str = "usage_events"
) -> History:
    """Raw history as it is now."""
    has_retracted, has_levels = map(bool, client.query(_HAS).result_rows[0])
    return History(client, meters, has_retracted, has_levels, events)


def read_usage(
    history: History, period: Period, *, cuts: Sequence[Cut],
    doubles: Sequence[tuple[str, int, int, int]],
) -> pl.DataFrame:  # fmt: skip
    """Usage of the period by part, each customer's up to the cut of its own invoice.

    `cuts` name whose they are; the last one is also that of customers without an invoice.
    `doubles` are coordinates of events that are there twice.
    """
    once = _NOW  # the same words as of q_now, so that it is added up only once
    if doubles:
        once += " AND (stream, partition, offset, `index`) NOT IN %(doubles)s"
    views = {"now": _NOW, "all": "1" if history.has_retracted else _NOW, "cut": _CUT, "once": once}
    found = []
    for cut in cuts:
        bound = {
            **period.parameters, **history.parameters, **cut.parameters, "doubles": list(doubles),
        }  # fmt: skip
        whose = period.condition()
        if len(cuts) > 1:
            whose += f" AND {cut.customers(period)}"
        for which, quantity in (("NOT IN", _SUMS), ("IN", _LEVELS)):
            is_special = which == "IN"
            if is_special and not history.special:
                continue
            sql = _USAGE.format(
                **{name: quantity.format(condition=text) for name, text in views.items()},
                distinct=_DISTINCT if is_special else "''", events=history.events,
                period=whose, which=which, customers=period.customers.condition,
            )  # fmt: skip
            found.append(frame(history.client, sql, bound))
    return pl.concat(found)
