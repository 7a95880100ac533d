"""Notices that ClickHouse lost rows that went ahead, before their totals are written.

What is durable of a partition says nothing of them yet (see `durable_rows.py`). Rows that were
inserted together are lost together, and later ones sooner than earlier ones. So the last row of
each partition and table of each write is asked for again, by its key.
"""

from collections import defaultdict
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.errors import RowsLost
from metering.flush import Flush, PartitionFlush
from sinks.clickhouse import clickhouse_errors

#: Typed as the column is: a set of plain strings never holds an identity that ends in a zero byte.
_EVENTS = """
SELECT uniqExact(customer_id, meter, identity) FROM usage_events
WHERE customer_id IN %(customers)s AND meter IN %(meters)s
  AND identity IN (SELECT toFixedString(unhex(arrayJoin(%(identities)s)), 16))
"""
_PLACES = """
SELECT uniqExact(stream, partition, offset, `index`) FROM {table}
WHERE (toString(stream), partition, offset, `index`) IN %(places)s
"""

_Event = tuple[str, str, str]  # customer, meter, identity as hex
_Place = tuple[str, int, int, int]


class RowsAhead:
    """Rows of what went ahead since totals were last written."""

    def __init__(self, client: Client) -> None:
        """Ask through `client`, whose database is the deployment's."""
        self._client = client
        self._events: set[_Event] = set()
        self._places: dict[str, set[_Place]] = defaultdict(set)

    def wrote(self, flush: Flush) -> None:
        """Its rows are durable now, and its totals are not."""
        for part in flush.parts:
            if part.events:
                self._events.add(_last_event(part))
            for table, place in _last_places(part):
                self._places[table].add(place)

    def require(self) -> None:
        """Ask ClickHouse, a query for each table. Raises `RowsLost` and `DependencyDown`."""
        if self._events:
            parameters = {
                "customers": sorted({customer for customer, _, _ in self._events}),
                "meters": sorted({meter for _, meter, _ in self._events}),
                "identities": sorted(identity for _, _, identity in self._events),
            }
            self._expect(len(self._events), "usage_events", _EVENTS, parameters)
        for table, places in self._places.items():
            sql = _PLACES.format(table=table)
            self._expect(len(places), table, sql, {"places": sorted(places)})

    def settled(self) -> None:
        """Their totals are durable as well."""
        self._events.clear()
        self._places.clear()

    def _expect(self, count: int, table: str, sql: str, parameters: dict[str, Any]) -> None:
        with clickhouse_errors(f"looking for rows in {table}"):
            found = int(self._client.query(sql, parameters=parameters).result_rows[0][0])
        if found < count:
            msg = (
                f"ClickHouse lost rows that this worker wrote (a restored backup?): expected"
                f" {count} of them to be in {table}, got {found}. No totals are written; what is"
                " lost is read again from the log"
            )
            raise RowsLost(msg)


def _last_event(part: PartitionFlush) -> _Event:
    rows = part.events[-1]
    last = rows.slice(rows.num_rows - 1).select(["customer_id", "meter", "identity"])
    found = last.to_pylist()[0]
    return str(found["customer_id"]), str(found["meter"]), bytes(found["identity"]).hex()


def _last_places(part: PartitionFlush) -> list[tuple[str, _Place]]:
    """Of the tables that are keyed by coordinate."""
    found = []
    if part.duplicates:
        rows = part.duplicates[-1]
        last = rows.slice(rows.num_rows - 1).select(["offset", "index"]).to_pylist()[0]
        found.append(("duplicate_events", last["offset"], last["index"]))
    if part.rejections:
        rejection = part.rejections[-1]
        found.append(("rejected_events", rejection.offset, rejection.index))
    if part.suppressions:
        suppression = part.suppressions[-1]
        found.append(("suppressed_events", suppression.offset, suppression.index))
    stream, partition = part.source.stream, part.source.partition
    return [(table, (stream, partition, offset, index)) for table, offset, index in found]
