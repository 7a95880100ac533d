"""Reads whole topics for the archive, as a member of its own consumer group.

The group only shares partitions out among processes; it commits nothing. Where a partition goes on
is what its manifest says. The Kafka client never decides by itself where to read.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, OffsetSpec

from dataflows.archive_buffer import ArchiveBuffer
from dataflows.kafka_reader import kafka_config, message_error
from metering.errors import DependencyDown, MeterlineError, OffsetsNotThere
from metering.settings import Settings
from sinks.archive_format import Records
from sinks.archive_writer import LogWriter

_TIMEOUT_S = 10.0
_POLLED = 10_000
#: Messages after which it is seen whether a file is full.
_ADDED = 200

#: Opens the archived log of a topic and partition.
OpenLog = Callable[[str, int], LogWriter]


class ArchiveSource:
    """Polls topics into a buffer; for one thread. `gaps` accepts a loss: place -> first offset."""

    def __init__(
        self, settings: Settings, topics: list[str], buffer: ArchiveBuffer, open_log: OpenLog, *,
        gaps: dict[tuple[str, int], int], joins: bool = True,
    ) -> None:  # fmt: skip
        """Join the group, or, without `joins`, take every partition at once."""
        self._buffer = buffer
        self._open_log = open_log
        self._gaps = gaps
        self._failure: MeterlineError | None = None
        self.ended: dict[tuple[str, int], int] = {}
        self.is_answering = True
        self._consumer = Consumer(
            {
                "session.timeout.ms": 10_000,
                **kafka_config(settings),
                "group.id": settings.archive_group_id,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "partition.assignment.strategy": "cooperative-sticky",
                "queued.max.messages.kbytes": 32_768,
                "fetch.wait.max.ms": 50,
                "error_cb": self._on_error,
            }
        )
        if joins:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )  # fmt: skip
        else:
            self._consumer.assign(self._started(_places(self._consumer, topics)))

    def poll(self, wait_s: float) -> int:
        """Read what is there into the buffer; how many messages. Raises `MeterlineError`."""
        try:
            messages: list[Message] = self._consumer.consume(_POLLED, wait_s)
        except KafkaException as error:
            msg = f"Kafka does not answer: {error.args[0].str()}"
            raise DependencyDown(msg) from error
        if self._failure is not None:
            raise self._failure
        count = 0
        for place, group in groupby(sorted(messages, key=_place), key=_place):
            count += self._take(place, list(group))
        self.is_answering = self.is_answering or bool(messages)
        return count

    def ends(self) -> dict[tuple[str, int], int]:
        """One past the last offset of every partition that is ours. Raises `DependencyDown`."""
        found = {}
        try:
            for topic, partition in list(self._buffer.archived):
                _, high = self._consumer.get_watermark_offsets(
                    Place(topic, partition), timeout=_TIMEOUT_S, cached=False
                )
                found[topic, partition] = high
        except KafkaException as error:
            self.is_answering = False
            msg = f"Kafka does not answer: {error.args[0].str()}"
            raise DependencyDown(msg) from error
        self.is_answering = True
        return found

    @property
    def partitions(self) -> int:
        """How many are ours."""
        return len(self._buffer.archived)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _take(self, place: tuple[str, int], messages: list[Message]) -> int:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self.ended[place] = message.offset() or 0
            else:
                failure = message_error(message, place[0])
                assert failure is not None
                raise failure
        for at in range(0, len(records), _ADDED):
            columns = _records(records[at : at + _ADDED])
            size = sum(len(each or b"") for each in (*columns.keys, *columns.values))
            self._buffer.add(place, columns, bytes_count=size)
        return len(records)

    def _on_assign(self, consumer: Consumer, places: list[Place]) -> None:
        try:
            consumer.incremental_assign(self._started(places))
        except MeterlineError as error:
            self._failure = error

    def _on_revoke(self, consumer: Consumer, places: list[Place]) -> None:
        for place in places:
            self._buffer.end((place.topic, place.partition))
            self.ended.pop((place.topic, place.partition), None)
        consumer.incremental_unassign(places)

    def _started(self, places: list[Place]) -> list[Place]:
        return [self._start(place) for place in places]

    def _start(self, place: Place) -> Place:
        writer = self._open_log(place.topic, place.partition)
        try:
            low, high = self._consumer.get_watermark_offsets(
                Place(place.topic, place.partition), timeout=_TIMEOUT_S, cached=False
            )
        except KafkaException as error:
            msg = f"Kafka does not answer: {error.args[0].str()}"
            raise DependencyDown(msg) from error
        key = (place.topic, place.partition)
        start = _start_offset(key, writer.next_offset, log=(low, high), gap=self._gaps.get(key))
        self._buffer.begin(key, writer, start=start)
        return Place(place.topic, place.partition, start)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self.is_answering = False


def _start_offset(
    place: tuple[str, int], wanted: int | None, *, log: tuple[int, int], gap: int | None
) -> int:
    """The offset to read next: where the archive ends, or where the log begins."""
    low, high = log
    if wanted is None:
        return low
    name = f"{place[0]}[{place[1]}]"
    if wanted < low and gap != low:
        msg = (
            f"{name}: expected to go on at offset {wanted}, where the archive ends, but the log "
            f"begins at {low}: {low - wanted} offsets were never archived (retention?). Accept "
            f"their loss with `meterline archive run --accept-gap {name}={low}`"
        )
        raise OffsetsNotThere(msg)
    if wanted > high:
        msg = (
            f"{name}: expected to go on at offset {wanted}, where the archive ends, but the log "
            f"ends at {high}: the topic was truncated, or this is another archive's folder"
        )
        raise OffsetsNotThere(msg)
    return max(wanted, low)


def topic_ids(settings: Settings, topics: list[str]) -> dict[str, str]:
    """Id of each topic. Raises `DependencyDown`."""
    admin = AdminClient({**kafka_config(settings), "socket.timeout.ms": 8000})
    try:
        found = admin.describe_topics(TopicCollection(topics), request_timeout=_TIMEOUT_S)
        return {name: str(each.result(_TIMEOUT_S + 1).topic_id) for name, each in found.items()}
    except KafkaException as error:
        msg = f"Kafka cannot describe {', '.join(topics)}: {error.args[0].str()}"
        raise DependencyDown(msg) from error
    except TimeoutError as error:
        msg = f"Kafka at {settings.kafka_bootstrap_servers} does not answer"
        raise DependencyDown(msg) from error


def log_ranges(settings: Settings, topics: list[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """First and next offset that the log holds of every partition. Raises `DependencyDown`."""
    admin = AdminClient({**kafka_config(settings), "socket.timeout.ms": 8000})
    try:
        places = _places(admin, topics)
        low, high = (
            admin.list_offsets(dict.fromkeys(places, spec), request_timeout=_TIMEOUT_S)
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
        )
        return {
            (each.topic, each.partition): (low[each].result().offset, high[each].result().offset)
            for each in places
        }
    except KafkaException as error:
        msg = f"Kafka does not answer: {error.args[0].str()}"
        raise DependencyDown(msg) from error


def _places(client: Any, topics: list[str]) -> list[Place]:
    try:
        known = client.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        msg = f"Kafka does not answer: {error.args[0].str()}"
        raise DependencyDown(msg) from error
    return [
        Place(topic, number)
        for topic in topics
        if topic in known
        for number in known[topic].partitions
    ]


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _records(messages: list[Message]) -> Records:
    return Records(
        [offset or 0 for offset in map(Message.offset, messages)],
        [stamp[1] for stamp in map(Message.timestamp, messages)],
        list(map(Message.key, messages)), list(map(Message.value, messages)),
        [_headers(message) for message in messages],
    )  # fmt: skip


def _headers(message: Message) -> list[tuple[str, bytes | None]] | None:
    found: Any = message.headers()
    return None if found is None else list(found)
