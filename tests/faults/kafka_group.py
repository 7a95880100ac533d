"""The log and its consumer group, written, asked and altered from outside."""

from __future__ import annotations

import time

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from loadtest.plan import Message

_TIMEOUT_S = 30.0
_ATTEMPTS = 150
_NOT_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
)


class Sender:
    """Produces to exact partitions, in order, each message once; `flush` proves it."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        self._failures: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.max.bytes": 2 * 1024 * 1024,
                "topic.metadata.refresh.interval.ms": 1000,
                "log_level": 2,
            }
        )

    def send(self, message: Message) -> None:
        """Hand one message over; waits for a partition that was created a moment ago."""
        for _ in range(_ATTEMPTS):
            try:
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key,
                    partition=message.partition,
                    on_delivery=self._delivered,
                )
            except KafkaException as error:
                if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                self._producer.poll(0.2)
            else:
                self._producer.poll(0)
                return
        text = f"Kafka has no partition {message.partition} of {self._topic}"
        raise AssertionError(text)

    def flush(self) -> None:
        """Wait until every message is acknowledged."""
        left = self._producer.flush(4 * _TIMEOUT_S)
        assert not left, f"{left} messages were not acknowledged"
        assert not self._failures, self._failures[:3]

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failures.append(error.str())


class KafkaGroup:
    """One group on one topic."""

    def __init__(self, bootstrap_servers: str, group: str, topic: str) -> None:
        config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap_servers, "log_level": 0,
        }  # fmt: skip
        self._admin = AdminClient(config)
        # It never subscribes, so it is no member. The admin client must not be asked for committed
        # offsets: librdkafka ends the process (SIGSEGV) when the coordinator is just moving.
        self._outsider = Consumer({**config, "group.id": group, "enable.auto.commit": False})
        self._group = group
        self._topic = topic

    def ends(self) -> dict[int, int]:
        """One past the last offset of each partition."""
        return self._offsets(OffsetSpec.latest())

    def committed(self) -> dict[int, int]:
        """The committed offset of each partition that has one."""
        for _ in range(_ATTEMPTS):
            try:
                found = self._outsider.committed(self._places(), timeout=_TIMEOUT_S)
            except KafkaException:
                time.sleep(0.2)  # a broker that has just started may still be loading the group
                continue
            if all(place.error is None for place in found):
                return {place.partition: place.offset for place in found if place.offset >= 0}
        message = f"Kafka did not tell the offsets of {self._group}"
        raise AssertionError(message)

    def commit(self, offsets: dict[int, int]) -> None:
        """Set the group's offsets, whatever the log holds; it must have no members."""
        places = [TopicPartition(self._topic, p, offset) for p, offset in offsets.items()]
        for place in self._outsider.commit(offsets=places, asynchronous=False) or []:
            assert place.error is None, place.error

    def forget_commits(self) -> None:
        """Delete the group with all its offsets; it must have no members."""
        futures = self._admin.delete_consumer_groups([self._group], request_timeout=_TIMEOUT_S)
        futures[self._group].result()

    def cut_log(self, partition: int, offset: int) -> None:
        """Delete what lies before `offset`, as retention would."""
        place = TopicPartition(self._topic, partition, offset)
        self._admin.delete_records([place], request_timeout=_TIMEOUT_S)[place].result()

    def _offsets(self, spec: OffsetSpec) -> dict[int, int]:
        places = dict.fromkeys(self._places(), spec)
        for _ in range(_ATTEMPTS):
            found = self._admin.list_offsets(places, request_timeout=_TIMEOUT_S)
            try:
                return {place.partition: future.result().offset for place, future in found.items()}
            except KafkaException as error:
                # A partition was created, or its broker came back, a moment ago.
                if not error.args[0].retriable() and error.args[0].code() not in _NOT_YET:
                    raise
                time.sleep(0.2)
        message = f"Kafka did not tell the ends of {self._topic}"
        raise AssertionError(message)

    def _places(self) -> list[TopicPartition]:
        topic = self._admin.list_topics(self._topic, _TIMEOUT_S).topics[self._topic]
        return [TopicPartition(self._topic, number) for number in topic.partitions]
