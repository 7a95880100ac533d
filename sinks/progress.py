"""How far each partition is durable, and which logs were ever read, as ClickHouse knows it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client

from metering.batch import Source
from metering.errors import PermanentError, TopicUnfit
from sinks.clickhouse import clickhouse_errors

#: Topic ids are base64 for URLs or not; a stream name is a word.
_PLAIN = str.maketrans("/+", "_-")
#: Not a log: the mark of a rebuild, of the kind `rebuild` and at its end `rebuilt`.
REBUILD = "rebuild"


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A log that was read: a topic with its id, or a backfill with its content's digest."""

    stream: str
    kind: str
    topic: str
    topic_id: str
    created_ms: int


def stream_name(topic: str, topic_id: str) -> str:
    """Name of the stream that a topic with this id is."""
    return f"{topic}:{topic_id[:8].translate(_PLAIN)}"


class Progress:
    """Reads `watermarks`; reads and writes `streams`."""

    def __init__(self, client: Client) -> None:
        """Use `client`, whose database is the deployment's."""
        self._client = client

    def next_offset(self, stream: str, partition: int) -> int | None:
        """One past the last offset that is durable in all tables; None if none ever was."""
        with clickhouse_errors("reading how far a partition is durable"):
            rows = self._client.query(
                "SELECT max(next_offset), count() FROM watermarks "
                "WHERE stream = %(stream)s AND partition = %(partition)s",
                parameters={"stream": stream, "partition": partition},
            ).result_rows
        return int(rows[0][0]) if rows[0][1] else None

    def next_offsets(self, sources: list[Source]) -> dict[tuple[str, int], int]:
        """The same of many, by stream and partition; without those of which nothing is durable."""
        with clickhouse_errors("reading how far partitions are durable"):
            rows = self._client.query(
                "SELECT stream, partition, max(next_offset) FROM watermarks "
                "WHERE stream IN %(streams)s AND partition IN %(partitions)s "
                "GROUP BY stream, partition",
                parameters={
                    "streams": sorted({source.stream for source in sources}),
                    "partitions": sorted({source.partition for source in sources}),
                },
            ).result_rows
        return {(str(stream), int(place)): int(offset) for stream, place, offset in rows}

    def live_stream(self, topic: str, topic_id: str, *, accepted: str | None = None) -> str:
        """Name of the stream that a topic is; registers it when it is first seen.

        Raises `TopicUnfit` when the topic was created again, unless its new id is `accepted`, and
        `PermanentError` while the database is being rebuilt.
        """
        mark = self.stream(REBUILD)
        if mark is not None and mark.kind == "rebuild":
            msg = (
                f"expected a whole database, got one that is being rebuilt from {mark.topic}: "
                "totals would miss what comes before. Let `meterline rebuild` finish (repeat it if "
                "it was interrupted), then start the workers"
            )
            raise PermanentError(msg)
        with clickhouse_errors("reading which topic was read before"):
            rows = self._client.query(
                "SELECT stream, topic_id FROM streams FINAL WHERE kind = 'live' AND "
                "topic = %(topic)s ORDER BY created_at DESC LIMIT 1",
                parameters={"topic": topic},
            ).result_rows
        if rows and rows[0][1] == topic_id:
            return str(rows[0][0])
        if rows and accepted != topic_id:
            msg = (
                f"topic {topic}: expected id {rows[0][1]}, got {topic_id}: it was deleted and "
                "created again, and offsets no longer mean what was recorded. If that was on "
                f"purpose, start once with `meterline run --accept-topic {topic_id}`"
            )
            raise TopicUnfit(msg)
        stream = stream_name(topic, topic_id)
        self.register(stream, "live", topic=topic, topic_id=topic_id)
        return stream

    def stream(self, name: str) -> StreamRecord | None:
        """What is recorded of a stream; None if it was never read."""
        with clickhouse_errors("reading which streams were read"):
            rows = self._client.query(
                "SELECT stream, kind, topic, topic_id, toUnixTimestamp64Milli(created_at) "
                "FROM streams FINAL WHERE stream = %(stream)s",
                parameters={"stream": name},
            ).result_rows
        return StreamRecord(*rows[0]) if rows else None

    def record_loss(self, source: Source, first: int, following: int) -> None:
        """Offsets `first` .. `following` - 1 were gone before they were read; that was accepted."""
        with clickhouse_errors("recording offsets that are lost"):
            self._client.insert(
                "offset_gaps", [[source.stream, source.partition, first, following, "lost"]],
                column_names=["stream", "partition", "first_offset", "next_offset", "reason"],
                settings={"async_insert": 0},
            )  # fmt: skip

    def register(
        self, stream: str, kind: str, *, topic: str = "", topic_id: str = "",
        created_ms: int | None = None,
    ) -> None:  # fmt: skip
        """Record a stream; `kind` is live or backfill. It is created now, or when it was."""
        created = datetime.now(UTC)
        if created_ms is not None:
            created = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=created_ms)
        with clickhouse_errors("recording a stream"):
            self._client.insert(
                "streams", [[stream, kind, topic, topic_id, created]],
                column_names=["stream", "kind", "topic", "topic_id", "created_at"],
                settings={"async_insert": 0},
            )  # fmt: skip
