"""Reads stored totals for the ledger: a `TotalsStore` over the table `usage_totals`."""

from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.decimals import units_of
from metering.period import hour_of
from metering.totals import (
    FOLDS,
    PlacedKey,
    StoredPartition,
    StoredUnit,
    StoredWindow,
    UnitKey,
    WindowKey,
)
from sinks.clickhouse import clickhouse_errors

_PARTITION = """
SELECT if(count() = 0, -1, toInt64(max(absorbed_offset))),
       if(count() = 0, -1, toInt64(toUnixTimestamp(max(window_start))))
FROM usage_totals WHERE stream = %(stream)s AND partition = %(partition)s
"""
_UNITS = """
WITH wanted AS
(
    SELECT tupleElement(k, 1) AS customer_id, tupleElement(k, 2) AS meter,
           tupleElement(k, 3) AS `group`,
           toDateTime(toUInt32(tupleElement(k, 4)), 'UTC') AS first,
           toDateTime(toUInt32(tupleElement(k, 5)), 'UTC') AS next,
           toStartOfHour(first, 'UTC') AS hour
    FROM (SELECT arrayJoin(%(keys)s) AS k)
),
window_start >= first AND events > 0 AS own
SELECT customer_id, meter, `group`, toInt64(toUnixTimestamp(first)) AS start,
       toInt64(toUnixTimestamp(next)) AS end, toInt64(max(absorbed_offset)) AS absorbed,
       if(countIf(own) = 0, -1, toInt64(toUnixTimestamp(maxIf(window_start, own)))) AS newest,
       sumIf(quantity, own) AS total, maxIf(quantity, own) AS most,
       argMaxIf(quantity, (last_occurred_at, last_identity), own) AS latest,
       toUnixTimestamp64Micro(maxIf(last_occurred_at, own)) AS latest_us,
       argMaxIf(last_identity, (last_occurred_at, last_identity), own) AS latest_identity
FROM
(
    SELECT * FROM usage_totals FINAL
    WHERE stream = %(stream)s AND partition = %(partition)s AND customer_id IN %(customers)s
      AND window_start >= toDateTime(%(start)s, 'UTC') AND window_start < toDateTime(%(end)s, 'UTC')
) AS totals
INNER JOIN wanted USING (customer_id, meter, `group`)
WHERE window_start >= hour AND window_start < next
GROUP BY customer_id, meter, `group`, first, next
"""
_CUSTOMERS = """
SELECT DISTINCT customer_id FROM usage_totals
WHERE stream = %(stream)s AND partition = %(partition)s
  AND window_start >= toDateTime(%(since)s, 'UTC')
LIMIT %(most)s
"""
#: Customers of one query for folds: their names stay far below what a query may have.
_CUSTOMERS_AT_ONCE = 50_000
#: Columns in the order of `FOLDS`; without names, since some would hide what they are made of.
#: Where it is too much ClickHouse stops, with more rows than there may be, before its memory is
#: full.
_FOLDS = """
WITH events > 0 AS own
SELECT customer_id, meter, `group`, toInt64(toUnixTimestamp(min(window_start))),
       toInt64(toUnixTimestamp(max(window_start))),
       if(countIf(own) = 0, -1, toInt64(toUnixTimestamp(maxIf(window_start, own)))),
       toInt64(max(absorbed_offset)),
       toInt64(argMax(absorbed_offset, (toStartOfHour(window_start, 'UTC'), absorbed_offset))),
       sumIf(quantity, own), maxIf(quantity, own),
       argMaxIf(quantity, (last_occurred_at, last_identity), own),
       toUnixTimestamp64Micro(maxIf(last_occurred_at, own)),
       argMaxIf(last_identity, (last_occurred_at, last_identity), own),
       toInt64(sum(events)), toInt64(sum(late_events)),
       toUnixTimestamp64Micro(min(first_occurred_at)),
       any(included), any(overage), any(charge)
FROM usage_totals FINAL
WHERE stream = %(stream)s AND partition = %(partition)s AND customer_id IN %(customers)s
  AND window_start >= toDateTime(%(since)s, 'UTC')
GROUP BY customer_id, meter, `group`, part_start,
         if(window_start >= toDateTime(%(recent)s, 'UTC'), window_start, toDateTime(0, 'UTC'))
LIMIT %(most)s
SETTINGS max_rows_to_group_by = %(most)s, group_by_overflow_mode = 'break', max_execution_time = 20
"""
_WINDOWS = """
SELECT partition, customer_id, meter, `group`, toInt64(toUnixTimestamp(window_start)) AS start,
       quantity, events, late_events, toUnixTimestamp64Micro(first_occurred_at) AS first_us,
       toUnixTimestamp64Micro(last_occurred_at) AS last_us, last_identity,
       toInt64(absorbed_offset) AS absorbed, included, overage, charge
FROM usage_totals FINAL
WHERE stream = %(stream)s AND customer_id IN %(customers)s
  AND (partition, customer_id, meter, `group`, toUnixTimestamp(window_start)) IN %(keys)s
"""


class ClickHouseTotals:
    """A `TotalsStore`; FINAL is always asked for, so merges do not matter."""

    def __init__(self, client: Client, beside: Client) -> None:
        """Read through clients whose database is the deployment's; windows through `beside`."""
        self._client = client
        self._beside = beside

    def partition(self, stream: str, partition: int) -> StoredPartition:
        """What is stored of one partition."""
        with clickhouse_errors("reading how far a partition is absorbed"):
            found = self._client.query(
                _PARTITION, parameters={"stream": stream, "partition": partition}
            )
        absorbed, newest = found.result_rows[0]
        return StoredPartition(int(absorbed), int(newest))

    def units(self, stream: str, partition: int, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        """The stored ones among `keys`, in one query."""
        table = _query(
            self._client, _UNITS, stream=stream, partition=partition,
            keys=[tuple(key) for key in keys],
            customers=sorted({key.customer_id for key in keys}),
            start=min(hour_of(key.start) for key in keys), end=max(key.end for key in keys),
        )  # fmt: skip
        columns = table.to_pydict()
        totals, most, latest = (units_of(_one(table, name)) for name in ("total", "most", "latest"))
        return {
            UnitKey(
                columns["customer_id"][at], columns["meter"][at], columns["group"][at],
                columns["start"][at], columns["end"][at],
            ): StoredUnit(
                columns["absorbed"][at], columns["newest"][at], totals[at], most[at], latest[at],
                columns["latest_us"][at], columns["latest_identity"][at],
            )
            for at in range(table.num_rows)
        }  # fmt: skip

    def folds(
        self, stream: str, partition: int, *, since: int, recent: int, rows_max: int
    ) -> pa.Table | None:
        """All that a partition holds from an hour on, as `FOLDS`; None if it is too much.

        Its customers are asked for first: the table is in their order, so that nothing is folded
        of those on other partitions.
        """
        where = {"stream": stream, "partition": partition, "since": since}
        found = _query(self._client, _CUSTOMERS, most=rows_max + 1, **where)
        customers = sorted(_one(found, "customer_id").to_pylist())
        tables, left = [FOLDS.empty_table()], rows_max
        if len(customers) > left:
            return None
        for first in range(0, len(customers), _CUSTOMERS_AT_ONCE):
            table = _query(
                self._client, _FOLDS, customers=customers[first : first + _CUSTOMERS_AT_ONCE],
                recent=recent, most=left + 1, **where,
            )  # fmt: skip
            left -= table.num_rows
            if left < 0:
                return None
            tables.append(table.rename_columns(FOLDS.names).cast(FOLDS))
        return pa.concat_tables(tables)

    def windows(self, stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        """The stored ones among `keys`, in one query."""
        table = _query(
            self._beside, _WINDOWS, stream=stream,
            customers=sorted({key.customer_id for _, key in keys}),
            keys=[(partition, *key) for partition, key in keys],
        )  # fmt: skip
        columns = table.to_pydict()
        units, included, overage, charge = (
            units_of(_one(table, name)) for name in ("quantity", "included", "overage", "charge")
        )
        return {
            PlacedKey(
                columns["partition"][at],
                WindowKey(
                    columns["customer_id"][at], columns["meter"][at], columns["group"][at],
                    columns["start"][at],
                ),
            ): StoredWindow(
                units[at], columns["events"][at], columns["late_events"][at],
                columns["first_us"][at], columns["last_us"][at], columns["last_identity"][at],
                columns["absorbed"][at], included[at], overage[at], charge[at],
            )
            for at in range(table.num_rows)
        }  # fmt: skip


def _query(client: Client, sql: str, **parameters: Any) -> pa.Table:
    with clickhouse_errors("reading totals"):
        return client.query_arrow(sql, parameters=parameters, use_strings=True)


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
