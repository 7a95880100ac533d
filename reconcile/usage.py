"""What was used, added up from raw history by SQL of the reconciler's own.

Per customer, meter, group and part of a billing period, in one pass over raw history:

    q_now    all that counts
    q_cut    of it, what the invoice could see: below its cut, and not taken back before it
    q_once   of `q_now`, without what is there twice (see `doubles.py`)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from metering.catalog import Aggregation, Meter
from reconcile.cuts import Cut
from reconcile.period import Period
from reconcile.query import frame


def quantity_where(condition: str) -> str:
    """SQL for the quantity of the events that `condition` keeps, by the meter's aggregation."""
    return f"""multiIf(
        how = 'count', toDecimal256(countIf({condition}), 12),
        how = 'unique_count', toDecimal256(uniqExactIf(distinct_value,
            ({condition}) AND meter IN %(unique_meters)s), 12),
        how = 'max', toDecimal256(maxIf(quantity, {condition}), 12),
        how = 'latest', toDecimal256(argMaxIf(quantity, (occurred_at, identity),
            ({condition}) AND meter IN %(latest_meters)s), 12),
        sumIf(toDecimal256(quantity, 12), {condition}))"""


#: Raw history that is billed, with how its meters aggregate and what was taken back.
EVENTS = """
    SELECT e.customer_id AS customer_id, toString(e.meter) AS meter, e.`group` AS `group`,
           e.period_start AS period_start, e.part_start AS part_start, e.quantity AS quantity,
           e.occurred_at AS occurred_at, e.identity AS identity, e.stream AS stream,
           e.partition AS partition, e.offset AS offset, e.`index` AS `index`, e.card AS event_card,
           e.record_time AS record_time, toString(e.source) AS event_source,
           e.batch_id AS event_batch,
           toString(e.schema_version) AS event_schema, e.subject AS event_subject,
           transform(meter, %(meters)s, %(aggregations)s, 'sum') AS how,
           if(meter IN %(unique_meters)s, JSONExtractString(e.dimensions,
               transform(meter, %(meters)s, %(counted)s, '')), '') AS distinct_value,
           r.recorded_us AS taken_back_us
    FROM (SELECT * FROM usage_events FINAL WHERE NOT disregarded AND {period}) AS e
    LEFT JOIN
    (
        SELECT customer_id, toString(meter) AS meter, identity,
               toUnixTimestamp64Micro(recorded_at) AS recorded_us
        FROM retracted_events FINAL WHERE is_retracted
    ) AS r ON r.customer_id = e.customer_id AND r.meter = toString(e.meter)
        AND r.identity = e.identity
"""
_NOW = "taken_back_us = 0"
_CUT = "offset < cut_offset AND (taken_back_us = 0 OR taken_back_us > %(cut_us)s)"
_CUTS = """
    SELECT place.1 AS stream, place.2 AS partition, place.3 AS cut_offset FROM
    (
        SELECT arrayJoin(arrayZip(%(cut_streams)s, %(cut_partitions)s, %(cut_offsets)s)) AS place
    )
"""
_USAGE = f"""
SELECT customer_id, meter, `group`, toInt64(toUnixTimestamp(period_start)) AS period_start,
       toInt64(toUnixTimestamp(part_start)) AS part_start,
       toDecimal128({quantity_where(_NOW)}, 12) AS q_now, toInt64(countIf({_NOW})) AS n_now,
       toDecimal128({quantity_where(_CUT)}, 12) AS q_cut, toInt64(countIf({_CUT})) AS n_cut,
       toDecimal128({quantity_where("{once}")}, 12) AS q_once,
       groupUniqArray(event_card) AS cards,
       argMax(event_card, (record_time, event_card)) AS card,
       toInt64(toUnixTimestamp(max(record_time))) AS received_at,
       argMax(event_source, record_time) AS source, argMax(event_batch, record_time) AS batch_id,
       argMax(event_schema, record_time) AS schema_version,
       if(uniqExact(event_subject) = 1, any(event_subject), '') AS subject
FROM
(
    SELECT e.*, c.cut_offset AS cut_offset
    FROM ({EVENTS}) AS e
    LEFT JOIN ({_CUTS}) AS c ON c.stream = e.stream AND c.partition = e.partition
)
GROUP BY customer_id, meter, `group`, period_start, part_start, how
"""


def meter_parameters(meters: Mapping[str, Meter]) -> dict[str, Any]:
    """What `quantity_where` and `EVENTS` refer to; a meter that is not known adds up."""
    unique = {key: each.counted_dimension for key, each in meters.items() if each.counted_dimension}
    latest = [key for key, each in meters.items() if each.aggregation is Aggregation.LATEST]
    return {
        "meters": list(meters) or [""],
        "aggregations": [str(each.aggregation) for each in meters.values()] or ["sum"],
        "unique_meters": list(unique) or [""],
        "counted": [unique.get(key) or "" for key in meters] or [""],
        "latest_meters": latest or [""],
    }


def read_usage(
    client: Client, period: Period, *, meters: Mapping[str, Meter], cuts: Sequence[Cut],
    doubles: Sequence[tuple[str, int, int, int]],
) -> pl.DataFrame:  # fmt: skip
    """Usage of the period by part, each customer's up to the cut of its own invoice.

    `cuts` name whose they are; the last one is also that of customers without an invoice.
    `doubles` are coordinates of events that are there twice.
    """
    once = _NOW  # the same words as of q_now, so that it is added up only once
    if doubles:
        once += " AND (stream, partition, offset, `index`) NOT IN %(doubles)s"
    found = []
    for cut in cuts:
        sql = _USAGE.replace("{once}", once)
        sql = sql.replace("{period}", f"{period.condition()} AND {cut.customers(period)}")
        bound = {
            **period.parameters, **meter_parameters(meters), **cut.parameters,
            "doubles": list(doubles),
        }  # fmt: skip
        found.append(frame(client, sql, bound))
    return pl.concat(found)
