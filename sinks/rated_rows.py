"""Rated rows of raw history as they are stored, and the same rows rated anew.

A row that is inserted again under its own key and coordinate has the same version; ClickHouse keeps
the one that was inserted last, before a merge (FINAL) as after it. What was metered stays as it is:
only what the rating made of it changes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors, insert_arrow
from sinks.conservation.cuts import CUTS, cut_parameters
from sinks.conservation.findings import Cut

_SECOND_US = 1_000_000

#: The time is compared by a function of it, so that FINAL reads all months: an identity that was
#: written to two of them has to be folded first.
_ROWS = f"""
WITH cuts AS ({CUTS})
SELECT e.*, toUnixTimestamp64Micro(occurred_at) AS at_us,
       toUnixTimestamp64Milli(record_time) AS record_ms
FROM
(
    SELECT * FROM billable_events
    WHERE customer_id IN %(customers)s AND (empty(%(meters)s) OR has(%(meters)s, toString(meter)))
      AND arrayCount(b -> b <= toUnixTimestamp64Micro(occurred_at), %(borders)s) = 1
) AS e
INNER JOIN cuts USING (stream, partition)
WHERE offset < next_offset
ORDER BY stream, partition, offset, `index`
SETTINGS max_bytes_before_external_sort = 500000000
"""
_TAKEN_BACK = """
SELECT *, toUnixTimestamp64Micro(occurred_at) AS at_us,
       toUnixTimestamp64Milli(record_time) AS record_ms
FROM usage_events FINAL
WHERE customer_id IN %(customers)s AND meter IN %(distinct)s AND NOT disregarded
  AND (customer_id, meter, identity) IN
      (SELECT customer_id, meter, identity FROM retracted_events FINAL WHERE is_retracted)
  AND arrayCount(b -> b <= toUnixTimestamp64Micro(occurred_at), %(borders)s) = 1
"""
_PLACES = """
SELECT DISTINCT toString(stream), partition FROM usage_totals WHERE customer_id IN %(customers)s
UNION DISTINCT
SELECT DISTINCT toString(stream), partition FROM usage_events WHERE customer_id IN %(customers)s
"""
_USERS = """
SELECT DISTINCT customer_id FROM usage_totals FINAL
WHERE events > 0 AND window_start >= toDateTime(%(start)s, 'UTC')
  AND window_start < toDateTime(%(end)s, 'UTC')
ORDER BY 1
"""
_DERIVED = ("at_us", "record_ms")


class Scope(NamedTuple):
    """What is rated anew: customers' usage from `start` to `end` (Unix seconds, half-open).

    No `meters` means all of them. The stretch is one or more whole billing periods.
    """

    customers: tuple[str, ...]
    start: int
    end: int
    meters: tuple[str, ...] = ()


class RatedRows:
    """Reads and writes them. Every call may raise `DependencyDown`."""

    def __init__(self, client: Client) -> None:
        """Through `client`, whose database is the deployment's."""
        self._client = client

    def billable(self, scope: Scope, cuts: list[Cut]) -> pa.Table:
        """Rows that count, below the cuts, in the order of the log of each partition.

        All columns, and `at_us` and `record_ms`, the times as whole numbers.
        """
        if not cuts:
            return pa.table({})
        parameters = {
            **cut_parameters(cuts),
            "customers": list(scope.customers),
            "meters": list(scope.meters) or [],
            "borders": [scope.start * _SECOND_US, scope.end * _SECOND_US],
        }
        sql = _ROWS
        if not scope.meters:
            sql = sql.replace("(empty(%(meters)s) OR has(%(meters)s, toString(meter)))", "1")
        with clickhouse_errors("reading the events to rate anew"):
            found = self._client.query_arrow(sql, parameters=parameters, use_strings=True)
        return found.combine_chunks()

    def taken_back(self, scope: Scope, meters: Sequence[str]) -> pa.Table:
        """Rows of `meters` that do not count any more, in the same columns."""
        parameters = {
            "customers": list(scope.customers),
            "distinct": list(meters) or [""],
            "borders": [scope.start * _SECOND_US, scope.end * _SECOND_US],
        }
        with clickhouse_errors("reading the events that were taken back"):
            return self._client.query_arrow(_TAKEN_BACK, parameters=parameters, use_strings=True)

    def partitions(self, customers: Sequence[str]) -> set[tuple[str, int]]:
        """Where usage of these customers came from."""
        with clickhouse_errors("asking which partitions hold usage of customers"):
            rows = self._client.query(_PLACES, parameters={"customers": list(customers)})
        return {(str(stream), int(partition)) for stream, partition in rows.result_rows}

    def customers_between(self, start: int, end: int) -> list[str]:
        """Who used something from `start` to `end` (Unix seconds)."""
        with clickhouse_errors("asking who used something"):
            found = self._client.query(_USERS, parameters={"start": start, "end": end})
        return [str(row[0]) for row in found.result_rows]

    def write(
        self, rows: pa.Table, *, cards: pa.Table | None = None, periods: pa.Table | None = None
    ) -> None:
        """Write the prices that rows name, then the rows, in place of those of the same key.

        Every table is one block. A crash between leaves rows as they were; again is the same.
        """
        if cards is not None:
            insert_arrow(self._client, "rate_cards", cards)
        if periods is not None:
            insert_arrow(self._client, "billing_periods", periods)
        kept = [name for name in rows.column_names if name not in _DERIVED]
        insert_arrow(self._client, "usage_events", rows.select(kept))
