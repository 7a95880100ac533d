"""What ClickHouse says about one load, whatever else its tables hold.

A load is told apart by where the logs ended before it (nobody else writes to the topic meanwhile)
and by the names of its customers.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from loadtest.outcome import Outcome, Total, TotalKey

# As in `loadtest.clickhouse`: one that was a duplicate of an event in flight, and was accepted
# itself when that one was lost with the dedup memory, keeps its older row.
# Only coordinates that are in question are held in memory: a long load has hundreds of millions.
_PLACE = "stream, partition, offset, `index`"
_NOT_ACCEPTED = (
    f"({_PLACE}) NOT IN (SELECT {_PLACE} FROM usage_events FINAL WHERE {{ours}}"
    f" AND ({_PLACE}) IN (SELECT {_PLACE} FROM {{table}} WHERE {{ours}}))"
)
_DURABLE = """
SELECT partition, max(next_offset) FROM watermarks
WHERE startsWith(stream, %(topic)s) GROUP BY partition
"""
_DISK = """
SELECT table, sum(bytes_on_disk) FROM system.parts
WHERE active AND database = currentDatabase() GROUP BY table
"""
_TOTALS = """
SELECT customer_id, meter, `group`, toUnixTimestamp(window_start), toString(quantity), events
FROM live_usage WHERE startsWith(customer_id, %(prefix)s)
"""


def expect_clickhouse(url: str) -> None:
    """Ask it for anything. Raises `ClickHouseError` when it does not answer."""
    clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False).close()


class LoadTables:
    """Read-only; one connection, for one thread."""

    def __init__(self, url: str, database: str, *, topic: str, patience_s: int = 300) -> None:
        """Connect. `url` is an HTTP DSN; raises what clickhouse-connect raises.

        `patience_s` is how long one answer may take.
        """
        self._client: Client = clickhouse_connect.get_client(
            dsn=url, database=database, autogenerate_session_id=False,
            send_receive_timeout=patience_s,
        )  # fmt: skip
        self._stream = f"{topic}:"
        self._ours = "1"
        self._prefix = ""

    def scope(self, ends: Mapping[int, int], prefix: str) -> None:
        """From now on only what lies from `ends` on, of customers whose name has this prefix."""
        bases = [ends.get(partition, 0) for partition in range(max(ends, default=0) + 1)]
        self._ours = f"startsWith(stream, '{self._stream}') AND offset >= {bases}[partition + 1]"
        self._prefix = prefix

    def durable(self) -> dict[int, int]:
        """Next offset after what is durable, by partition."""
        rows = self._rows(_DURABLE, topic=self._stream)
        return {int(partition): int(offset) for partition, offset in rows}

    def bytes_on_disk(self) -> dict[str, int]:
        """Size of every table's active parts."""
        return {str(table): int(size) for table, size in self._rows(_DISK)}

    def outcome(self) -> Outcome:
        """Every number that the truth knows."""
        events = f"usage_events FINAL WHERE {self._ours}"
        accepted, late, disregarded = self._rows(
            f"SELECT count(), countIf(late), countIf(disregarded) FROM {events}"
        )[0]
        rejected = self._beside("rejected_events")
        codes = f"SELECT code, count() FROM rejected_events FINAL WHERE {rejected} GROUP BY code"
        return Outcome(
            accepted=int(accepted),
            duplicates=self._count(
                f"duplicate_events FINAL WHERE {self._beside('duplicate_events')}"
            ),
            suppressed=self._count(f"suppressed_events FINAL WHERE {self._ours}"),
            disregarded=int(disregarded),
            late=int(late),
            rejected={str(code): int(count) for code, count in self._rows(codes)},
            totals={
                TotalKey(customer, meter, group, int(window)): Total(Decimal(total), int(events))
                for customer, meter, group, window, total, events in self._rows(
                    _TOTALS, prefix=f"{self._prefix}-"
                )
            },
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _beside(self, table: str) -> str:
        """Rows of ours in it whose event was not accepted as well."""
        return f"{self._ours} AND {_NOT_ACCEPTED.format(ours=self._ours, table=table)}"

    def _count(self, source: str) -> int:
        return int(self._rows(f"SELECT count() FROM {source}")[0][0])

    def _rows(self, query: str, **parameters: object) -> Sequence[Sequence[Any]]:
        return self._client.query(query, parameters=parameters).result_rows
