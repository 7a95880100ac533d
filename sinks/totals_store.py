"""Reads stored totals for the ledger: a `TotalsStore` over the table `usage_totals`."""

from itertools import groupby
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.decimals import units_of
from metering.period import period_end
from metering.totals import StoredPartition, StoredUnit, StoredWindow, UnitKey, WindowKey
from sinks.clickhouse import clickhouse_errors

_PARTITION = """
SELECT if(count() = 0, -1, toInt64(max(absorbed_offset))),
       if(count() = 0, -1, toInt64(toUnixTimestamp(max(window_start))))
FROM usage_totals WHERE stream = %(stream)s AND partition = %(partition)s
"""
_UNITS = """
SELECT customer_id, meter, `group`, toInt64(max(absorbed_offset)) AS absorbed,
       toInt64(toUnixTimestamp(max(window_start))) AS newest,
       sum(quantity) AS total, max(quantity) AS most,
       argMax(quantity, (last_occurred_at, last_identity)) AS latest,
       toUnixTimestamp64Micro(max(last_occurred_at)) AS latest_us,
       argMax(last_identity, (last_occurred_at, last_identity)) AS latest_identity
FROM usage_totals FINAL
WHERE stream = %(stream)s AND partition = %(partition)s
  AND window_start >= toDateTime(%(start)s, 'UTC') AND window_start < toDateTime(%(end)s, 'UTC')
  AND customer_id IN %(customers)s AND (customer_id, meter, `group`) IN %(keys)s
GROUP BY customer_id, meter, `group`
"""
_WINDOWS = """
SELECT customer_id, meter, `group`, toInt64(toUnixTimestamp(window_start)) AS start,
       quantity, events, late_events, toUnixTimestamp64Micro(first_occurred_at) AS first_us,
       toUnixTimestamp64Micro(last_occurred_at) AS last_us, last_identity,
       toInt64(absorbed_offset) AS absorbed
FROM usage_totals FINAL
WHERE stream = %(stream)s AND partition = %(partition)s
  AND customer_id IN %(customers)s
  AND (customer_id, meter, `group`, toUnixTimestamp(window_start)) IN %(keys)s
"""


class ClickHouseTotals:
    """A `TotalsStore`; FINAL is always asked for, so merges do not matter."""

    def __init__(self, client: Client) -> None:
        """Read through `client`, whose database is the deployment's."""
        self._client = client

    def partition(self, stream: str, partition: int) -> StoredPartition:
        """What is stored of one partition."""
        with clickhouse_errors("reading how far a partition is absorbed"):
            found = self._client.query(
                _PARTITION, parameters={"stream": stream, "partition": partition}
            )
        absorbed, newest = found.result_rows[0]
        return StoredPartition(int(absorbed), int(newest))

    def units(self, stream: str, partition: int, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        """The stored ones among `keys`: one query per billing period among them."""
        found: dict[UnitKey, StoredUnit] = {}
        ordered = sorted(keys, key=lambda key: key.period_start)
        for start, some in groupby(ordered, key=lambda key: key.period_start):
            names = [tuple(key[:3]) for key in some]
            table = self._query(
                _UNITS, stream=stream, partition=partition, start=start, end=period_end(start),
                customers=sorted({name[0] for name in names}), keys=names,
            )  # fmt: skip
            columns = table.to_pydict()
            totals, most, latest = (
                units_of(_one(table, name)) for name in ("total", "most", "latest")
            )
            for at in range(table.num_rows):
                key = UnitKey(
                    columns["customer_id"][at], columns["meter"][at], columns["group"][at], start
                )
                found[key] = StoredUnit(
                    columns["absorbed"][at], columns["newest"][at], totals[at], most[at],
                    latest[at], columns["latest_us"][at], columns["latest_identity"][at],
                )  # fmt: skip
        return found

    def windows(
        self, stream: str, partition: int, keys: list[WindowKey]
    ) -> dict[WindowKey, StoredWindow]:
        """The stored ones among `keys`, in one query."""
        table = self._query(
            _WINDOWS, stream=stream, partition=partition,
            customers=sorted({key.customer_id for key in keys}), keys=[tuple(key) for key in keys],
        )  # fmt: skip
        columns = table.to_pydict()
        units = units_of(_one(table, "quantity"))
        return {
            WindowKey(
                columns["customer_id"][at], columns["meter"][at], columns["group"][at],
                columns["start"][at],
            ): StoredWindow(
                units[at], columns["events"][at], columns["late_events"][at],
                columns["first_us"][at], columns["last_us"][at], columns["last_identity"][at],
                columns["absorbed"][at],
            )
            for at in range(table.num_rows)
        }  # fmt: skip

    def _query(self, sql: str, **parameters: Any) -> pa.Table:
        with clickhouse_errors("reading totals"):
            return self._client.query_arrow(sql, parameters=parameters, use_strings=True)


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
