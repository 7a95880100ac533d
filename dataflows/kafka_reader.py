"""A member of the consumer group: polls, starts and ends assignments, commits.

Assignments are handled where the group is polled. Each starts a generation, asks where the
partition has to resume, and checks that the log holds that offset (`resume`). The Kafka client
never decides by itself: offsets are neither stored nor reset automatically.
"""

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
)
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, ConfigResource

from dataflows.assignments import Assignments
from dataflows.resume import LogRange, resume_offset
from metering.batch import Source
from metering.errors import (
    AssignmentLost,
    DependencyDown,
    LogBeginsLater,
    MeterlineError,
    OffsetsNotThere,
    TopicUnfit,
)
from metering.settings import Settings

log = logging.getLogger("meterline")

_TIMEOUT_S = 10.0
#: A poll goes on at once with this part of what it asked for.
_ENOUGH = 4
_GONE = (
    KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._NO_OFFSET,
    KafkaError.REBALANCE_IN_PROGRESS, KafkaError._ASSIGNMENT_LOST, KafkaError._STATE,
    KafkaError.FENCED_INSTANCE_ID,
)  # fmt: skip

#: Starts an assignment of a partition of the stream: the source, and the durable next offset.
Begin = Callable[[str, int], tuple[Source, int | None]]
#: Records a half-open range of offsets as lost.
AcceptLoss = Callable[[Source, int, int], None]


def kafka_config(settings: Settings) -> dict[str, Any]:
    """Properties that every Kafka client of a deployment shares."""
    return {"bootstrap.servers": settings.kafka_bootstrap_servers, **settings.kafka_properties}


class KafkaReader:
    """Reads one topic as a member of the group. For one thread, but `commit` may be another's."""

    def __init__(
        self, settings: Settings, stream: str, assignments: Assignments, begin: Begin, *,
        accepted_gaps: dict[int, int] | None = None, accept_loss: AcceptLoss | None = None,
    ) -> None:  # fmt: skip
        """Join the group; nothing is read before `poll`.

        Where the log begins at the offset that `accepted_gaps` names for the partition, it is read
        from there, after `accept_loss` has recorded what is lost.
        """
        self._stream = stream
        self._topic = settings.events_topic
        self._assignments = assignments
        self._begin = begin
        self._accepted_gaps = accepted_gaps or {}
        self._accept_loss = accept_loss
        self._failure: MeterlineError | None = None
        self._revoked: list[tuple[str, int]] = []
        self.positions: dict[Source, int] = {}
        self.is_answering = True
        self.topic_partitions = 0
        #: Whether ClickHouse lacks what was committed, so that it is read again; for who asks.
        self.has_lost_rows = False
        self._consumer = Consumer(
            {
                "session.timeout.ms": 10_000,
                **kafka_config(settings),
                "group.id": settings.group_id,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "partition.assignment.strategy": "cooperative-sticky",
                "queued.max.messages.kbytes": 16_384,
                "queued.min.messages": 50_000,
                "fetch.message.max.bytes": 1_048_576,
                "fetch.wait.max.ms": 50,
                # A full queue is empty again long before the default second.
                "fetch.queue.backoff.ms": 10,
                "error_cb": self._on_error,
            }
        )
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )  # fmt: skip

    def poll(self, count: int, wait_s: float) -> list[Message]:
        """Up to `count` messages, in offset order per partition; partition ends among them.

        Raises `OffsetsNotThere`, `AssignmentLost`, `DependencyDown`.
        """
        try:
            messages: list[Message] = self._consumer.consume(count, 0)
            missing = count // _ENOUGH - len(messages)
            if missing > 0:
                # The client waits until it has all that it is asked for, or the time is over.
                messages += self._consumer.consume(missing, wait_s)
                messages += self._consumer.consume(count - len(messages), 0)
        except KafkaException as error:
            raise _as_ours(error.args[0], self._topic) from error
        if self._failure is not None:
            raise self._failure
        if messages:
            self.is_answering = True
        return messages

    def revoked(self) -> list[tuple[str, int]]:
        """Partitions taken away since this was last asked."""
        found, self._revoked = self._revoked, []
        return found

    def commit(self, positions: dict[Source, int]) -> None:
        """Commit the next offsets and wait for it; what is not ours any more is passed over."""
        places = [
            Place(self._topic, source.partition, offset)
            for source, offset in positions.items()
            if self._assignments.is_current(source)
        ]
        if not places:
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _GONE:
                raise _as_ours(error.args[0], self._topic) from error

    def lag(self) -> dict[int, int]:
        """Messages between what was read and the end of the log, by partition.

        Asks how many partitions the topic has as well.
        """
        found = {}
        try:
            for source, position in list(self.positions.items()):
                _, high = self._consumer.get_watermark_offsets(
                    Place(self._topic, source.partition), timeout=2.0, cached=False
                )
                found[source.partition] = max(high - position, 0)
            topics = self._consumer.list_topics(self._topic, timeout=2.0).topics
            self.topic_partitions = len(topics[self._topic].partitions)
        except KafkaException:
            self.is_answering = False
            return {}
        self.is_answering = True
        return found

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, places: list[Place]) -> None:
        if not places:
            consumer.incremental_assign([])
            return
        try:
            committed = consumer.committed(places, timeout=_TIMEOUT_S)
            starts = [self._start(consumer, place) for place in committed]
        except KafkaException as error:
            self._failure = _as_ours(error.args[0], self._topic)
        except MeterlineError as error:
            self._failure = error
        else:
            consumer.incremental_assign(starts)

    def _start(self, consumer: Consumer, place: Place) -> Place:
        if place.error is not None:
            raise _as_ours(place.error, self._topic)
        source, durable = self._begin(self._stream, place.partition)
        low, high = consumer.get_watermark_offsets(
            Place(self._topic, place.partition), timeout=_TIMEOUT_S, cached=False
        )
        accepted = self._accepted_gaps.get(place.partition)
        committed = None if place.offset == OFFSET_INVALID or place.offset < 0 else place.offset
        name = f"{self._topic}[{place.partition}]"
        try:
            start = resume_offset(
                name, committed=committed, durable=durable, log=LogRange(low, high)
            )
        except LogBeginsLater as error:
            if accepted != low or self._accept_loss is None:
                raise
            self._accept_loss(source, error.wanted, low)
            start = low
        if committed is not None and start < committed:
            self.has_lost_rows = True
            log.warning(
                "%s: ClickHouse lost rows that it had acknowledged (a restored backup?): offset %d "
                "is committed. %d messages are read again, from %d on. Run `meterline verify` when "
                "that is done", name, committed, committed - start, start,
            )  # fmt: skip
        self._assignments.start(source)
        self.positions[source] = start
        return Place(self._topic, place.partition, start)

    def _on_revoke(self, consumer: Consumer, places: list[Place]) -> None:
        for place in places:
            held = self._assignments.end(self._stream, place.partition)
            if held is not None:
                self.positions.pop(held, None)
                self._revoked.append((self._stream, place.partition))
        consumer.incremental_unassign(places)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self.is_answering = False


def topic_id(settings: Settings) -> str:
    """Id of the events topic. Raises `TopicUnfit` or `DependencyDown`."""
    admin = AdminClient({**kafka_config(settings), "socket.timeout.ms": 8000})
    topic = settings.events_topic
    try:
        found = admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_S)
        identity = str(found[topic].result(_TIMEOUT_S + 1).topic_id)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        configs = admin.describe_configs([resource], request_timeout=_TIMEOUT_S)
        stamps = configs[resource].result(_TIMEOUT_S + 1)["message.timestamp.type"].value
    except KafkaException as error:
        raise _as_ours(error.args[0], topic) from error
    except TimeoutError as error:
        msg = f"Kafka at {settings.kafka_bootstrap_servers} does not answer"
        raise DependencyDown(msg) from error
    if stamps != "LogAppendTime":
        msg = (
            f"topic {topic}: expected message.timestamp.type=LogAppendTime, got {stamps}. Late and "
            "on time are decided by when the broker received an event; change the topic's setting"
        )
        raise TopicUnfit(msg)
    return identity


def _as_ours(error: KafkaError, topic: str) -> MeterlineError:
    text = f"Kafka, topic {topic}: {error.str()}"
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        return OffsetsNotThere(
            f"{text}. The log no longer holds the next offset; nothing was skipped. Start the "
            "worker again to see what is missing"
        )
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return TopicUnfit(f"{text}. Create it with `meterline migrate`")
    if error.code() in (KafkaError._MAX_POLL_EXCEEDED, *_GONE):
        return AssignmentLost(text)
    return DependencyDown(text)


def message_error(message: Message, topic: str) -> MeterlineError | None:
    """What a polled message says went wrong; None for a record or a partition's end."""
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return None
    return _as_ours(error, topic)
