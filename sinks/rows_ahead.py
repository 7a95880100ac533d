"""Notices that ClickHouse lost rows that went ahead, before their totals are written.

What is durable of a partition says nothing of them yet (see `durable_rows.py`). Rows that were
written together are lost together, so of each write one row is asked for again, by its key.
"""

from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from metering.errors import RowsLost
from metering.flush import Flush, PartitionFlush
from sinks.clickhouse import clickhouse_errors


class _Row(NamedTuple):
    """Where it is, and the value of each column of its key; bytes are written as hex."""

    table: str
    key: dict[str, str | int]


class RowsAhead:
    """One row of each write that went ahead since totals were last written."""

    def __init__(self, client: Client) -> None:
        """Ask through `client`, whose database is the deployment's."""
        self._client = client
        self._rows: list[_Row] = []

    def wrote(self, flush: Flush) -> None:
        """Its rows are durable now, and its totals are not."""
        found = next((row for part in flush.parts if (row := _row_of(part)) is not None), None)
        if found is not None:
            self._rows.append(found)

    def require(self) -> None:
        """Ask ClickHouse for each. Raises `RowsLost` and `DependencyDown`."""
        for row in self._rows:
            if not self._is_held(row):
                key = ", ".join(f"{name} {value}" for name, value in row.key.items())
                msg = (
                    f"ClickHouse lost rows that this worker wrote (a restored backup?): expected"
                    f" {row.table} to hold {key}, got no such row. No totals are written; what is"
                    " lost is read again from the log"
                )
                raise RowsLost(msg)

    def settled(self) -> None:
        """Their totals are durable as well."""
        self._rows.clear()

    def _is_held(self, row: _Row) -> bool:
        where = " AND ".join(f"`{name}` = {_VALUE.format(name)}" for name in row.key)
        if "identity" in row.key:
            where = where.replace(_VALUE.format("identity"), _IDENTITY)
        with clickhouse_errors(f"looking for a row in {row.table}"):
            found = self._client.query(
                f"SELECT 1 FROM {row.table} WHERE {where} LIMIT 1",
                parameters=row.key,
            ).result_rows
        return bool(found)


_VALUE, _IDENTITY = "%({})s", "toFixedString(unhex(%(identity)s), 16)"


def _row_of(part: PartitionFlush) -> _Row | None:
    if part.events:
        event = part.events[-1].slice(0, 1).select(["customer_id", "meter", "identity"])
        found = event.to_pylist()[0]
        return _Row("usage_events", found | {"identity": bytes(found["identity"]).hex()})
    place: dict[str, str | int] = {
        "stream": part.source.stream, "partition": part.source.partition,
    }  # fmt: skip
    if part.duplicates:
        copy = part.duplicates[-1].slice(0, 1).select(["offset", "index"]).to_pylist()[0]
        return _Row("duplicate_events", place | copy)
    for table, dropped in (
        ("rejected_events", part.rejections), ("suppressed_events", part.suppressions)
    ):  # fmt: skip
        if dropped:
            return _Row(table, place | {"offset": dropped[0].offset, "index": dropped[0].index})
    return None
