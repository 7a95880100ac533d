"""Looks again at totals that moved on while they were compared: the row first, then its raw."""

from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors
from sinks.conservation.aggregates import (
    LATEST_COLUMNS,
    RAW_COLUMNS,
    WINDOW_START,
    expected_quantity,
)
from sinks.conservation.findings import Amount, TotalDifference

_AT_ONCE = 2000


class MovingTotal(NamedTuple):
    """Key of a row of `usage_totals`; the window's start is in Unix seconds."""

    customer_id: str
    meter: str
    group: str
    window_start: int
    stream: str
    partition: int


_ROWS = """
SELECT customer_id, meter, `group`, toUnixTimestamp(window_start), stream, partition, aggregation,
       absorbed_offset, toString(window_start),
       (toString(quantity), events, late_events, toString(first_occurred_at),
        toString(last_occurred_at), toString(included), toString(overage), toString(charge),
        toString(card), toString(period_start), toString(part_start))
FROM usage_totals FINAL
WHERE customer_id IN %(customers)s
  AND (customer_id, meter, `group`, toUnixTimestamp(window_start), stream, partition) IN %(keys)s
"""
_RAW = f"""
WITH wanted AS
(
    SELECT tupleElement(k, 1) AS customer_id, tupleElement(k, 2) AS meter,
           tupleElement(k, 3) AS `group`,
           toDateTime(toUInt32(tupleElement(k, 4)), 'UTC') AS window_start,
           tupleElement(k, 5) AS stream, toUInt32(tupleElement(k, 6)) AS partition,
           tupleElement(k, 7) AS aggregation, toUInt64(tupleElement(k, 8)) AS absorbed_offset
    FROM (SELECT arrayJoin(%(rows)s) AS k)
)
SELECT customer_id, meter, `group`, toUnixTimestamp(window_start), stream, partition,
       (toString({expected_quantity("aggregation")}), r_events, l, toString(f), toString(t),
        toString(i), toString(o), toString(c), toString(k), toString(ps), toString(pp))
FROM
(
    SELECT customer_id, meter, `group`, window_start, stream, partition,
           any(wanted.aggregation) AS aggregation, {RAW_COLUMNS}, {LATEST_COLUMNS},
           s AS r_sum, n AS r_events, u AS r_counted, m AS r_max, v AS r_latest
    FROM
    (
        SELECT *, {WINDOW_START} AS window_start FROM billable_events
        WHERE customer_id IN %(customers)s AND meter IN %(meters)s
    ) AS e
    INNER JOIN wanted USING (customer_id, meter, `group`, window_start, stream, partition)
    WHERE offset <= absorbed_offset
    GROUP BY customer_id, meter, `group`, window_start, stream, partition
)
"""


def recheck(client: Client, moving: list[MovingTotal]) -> list[TotalDifference]:
    """Those of `moving` that are wrong: not what raw adds up to at their own `absorbed_offset`.

    Exact whatever is written meanwhile. Raises `DependencyDown`.
    """
    found: list[TotalDifference] = []
    for at in range(0, len(moving), _AT_ONCE):
        found += _recheck(client, moving[at : at + _AT_ONCE])
    return found


def _recheck(client: Client, keys: list[MovingTotal]) -> list[TotalDifference]:
    customers = sorted({key.customer_id for key in keys})
    parameters: dict[str, Any] = {"customers": customers, "keys": [tuple(key) for key in keys]}
    with clickhouse_errors("reading totals again"):
        rows = client.query(_ROWS, parameters=parameters).result_rows
    if not rows:
        return []
    parameters = {
        "customers": customers,
        "meters": sorted({key.meter for key in keys}),
        "rows": [tuple(row[:8]) for row in rows],
    }
    with clickhouse_errors("adding raw history up again"):
        sums = client.query(_RAW, parameters=parameters).result_rows
    expected = {tuple(row[:6]): Amount(*row[6]) for row in sums}
    found = []
    for *key, aggregation, _, window_start, amount in rows:
        got, right = Amount(*amount), expected.get(tuple(key), Amount())
        if got != right and not (got.is_nothing and right.is_nothing):
            customer_id, meter, group, _, stream, partition = key
            found.append(
                TotalDifference(
                    customer_id, meter, group, window_start, stream, partition, aggregation,
                    expected=right, got=got,
                )
            )  # fmt: skip
    return found
