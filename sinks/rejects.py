"""Rejected events as an operator works with them: which there are, and which were sent again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors

_PAGE = 500

_FROM = """
FROM rejected_events AS r FINAL
LEFT JOIN
(
    SELECT stream, partition, offset, `index`, count() AS replays
    FROM reject_replays GROUP BY stream, partition, offset, `index`
) AS p USING (stream, partition, offset, `index`)
WHERE {condition}
"""
_COUNTS = "SELECT toString(code) AS name, count() AS n, countIf(replays > 0)" + _FROM
_ROWS = (
    "SELECT toString(stream), partition, offset, `index`, toString(code), sentence, hex(event), "
    "id, customer_id, meter, toUnixTimestamp64Milli(record_time), replays" + _FROM
)


class Coordinate(NamedTuple):
    """Where one event stands; written STREAM/PARTITION/OFFSET/INDEX."""

    stream: str
    partition: int
    offset: int
    index: int  # type: ignore[assignment]

    def __str__(self) -> str:
        """As it is written."""
        return "/".join(map(str, self))


@dataclass(frozen=True, slots=True)
class RejectFilter:
    """Which rejects are meant; None means any. `since` is a record timestamp, inclusive."""

    code: str | None = None
    since: datetime | None = None
    coordinate: Coordinate | None = None
    unreplayed_only: bool = False

    def condition(self) -> tuple[str, dict[str, Any]]:
        """SQL condition and its parameters."""
        parts = ["1"]
        parameters: dict[str, Any] = {}
        if self.code is not None:
            parts.append("code = %(code)s")
            parameters["code"] = self.code
        if self.since is not None:
            parts.append("record_time >= fromUnixTimestamp64Milli(%(since)s, 'UTC')")
            parameters["since"] = int(self.since.timestamp() * 1000)
        if self.coordinate is not None:
            parts.append("(stream, partition, offset, `index`) = %(coordinate)s")
            parameters["coordinate"] = tuple(self.coordinate)
        if self.unreplayed_only:
            parts.append("replays = 0")
        return " AND ".join(parts), parameters


@dataclass(frozen=True, slots=True)
class CodeCount:
    """Rejects of one code, and how many of them were sent again."""

    code: str
    count: int
    replayed: int


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected event; `event` is its bytes as received, `replays` how often it was sent."""

    coordinate: Coordinate
    code: str
    sentence: str
    event: bytes
    event_id: str
    customer_id: str
    meter: str
    record_time_ms: int
    replays: int


class Rejects:
    """Reads `rejected_events`; reads and writes `reject_replays`."""

    def __init__(self, client: Client) -> None:
        """Use `client`, whose database is the deployment's."""
        self._client = client

    def counts(self, wanted: RejectFilter) -> list[CodeCount]:
        """By code, the most frequent first. Raises `DependencyDown`."""
        rows = self._query(_COUNTS, wanted, order="GROUP BY name ORDER BY n DESC, name")
        return [CodeCount(str(code), int(count), int(done)) for code, count, done in rows]

    def newest(self, wanted: RejectFilter, *, limit: int) -> list[Reject]:
        """The last to arrive, newest first. Raises `DependencyDown`."""
        order = f"ORDER BY record_time DESC, stream, partition, offset DESC, `index` LIMIT {limit}"
        return [_reject(row) for row in self._query(_ROWS, wanted, order=order)]

    def pages(self, wanted: RejectFilter) -> Iterator[list[Reject]]:
        """All of them in the order of their coordinates, some at a time."""
        after: Coordinate | None = None
        while True:
            tail = "" if after is None else "AND (stream, partition, offset, `index`) > %(after)s"
            order = f"{tail} ORDER BY stream, partition, offset, `index` LIMIT {_PAGE}"
            rows = self._query(
                _ROWS, wanted, order=order, after=None if after is None else tuple(after)
            )
            if not rows:
                return
            page = [_reject(row) for row in rows]
            yield page
            after = page[-1].coordinate

    def record_replays(self, rejects: list[Reject], *, edited: bool, actor: str) -> None:
        """Record that these were sent again. Raises `DependencyDown`."""
        with clickhouse_errors("recording what was sent again"):
            self._client.insert(
                "reject_replays",
                [[*each.coordinate, edited, actor] for each in rejects],
                column_names=["stream", "partition", "offset", "index", "edited", "actor"],
                settings={"async_insert": 0},
            )

    def _query(
        self, sql: str, wanted: RejectFilter, *, order: str, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        condition, bound = wanted.condition()
        with clickhouse_errors("reading rejected events"):
            found = self._client.query(
                f"{sql.format(condition=condition)} {order}", parameters={**bound, **parameters}
            )
        return [tuple(row) for row in found.result_rows]


def _reject(row: tuple[Any, ...]) -> Reject:
    stream, partition, offset, index, code, sentence, event, *rest = row
    event_id, customer_id, meter, record_time_ms, replays = rest
    return Reject(
        Coordinate(stream, partition, offset, index), code, sentence, bytes.fromhex(event),
        event_id, customer_id, meter, record_time_ms, replays,
    )  # fmt: skip
