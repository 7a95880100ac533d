"""The consumer group as an operator sees it: members, offsets, and setting one back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from metering.errors import DependencyDown, OffsetsNotThere, PermanentError

_TIMEOUT_S = 10.0
_PAUSE_S = 0.2
_MOVING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition of the group's topic; `committed` is None before the first commit."""

    partition: int
    low: int
    high: int
    committed: int | None

    @property
    def lag(self) -> int:
        """Records that are not committed yet."""
        start = self.low if self.committed is None else self.committed
        return max(self.high - start, 0)


@dataclass(frozen=True, slots=True)
class GroupView:
    """Members of the group and the partitions of its topic, in order."""

    state: str
    members: int
    partitions: list[PartitionLag]


class ConsumerGroup:
    """One group on one topic."""

    def __init__(self, config: dict[str, Any], *, group: str, topic: str) -> None:
        """`config` holds the shared Kafka properties; nothing is asked yet."""
        self._config = {**config, "socket.timeout.ms": 8000}
        self._admin = AdminClient(self._config)
        self._group = group
        self._topic = topic

    def view(self) -> GroupView:
        """What it is now. Raises `DependencyDown`."""
        return _answered(self._view)

    def set_back(self, partition: int, offset: int) -> None:
        """Make the group resume a partition at `offset`, which only works without members.

        Raises `PermanentError` while workers run, `OffsetsNotThere` when the log does not hold
        the offset, `DependencyDown`.
        """
        view = self.view()
        if view.members:
            msg = (
                f"group {self._group}: expected no members, got {view.members}. Stop the workers, "
                "then repeat this; start them again afterwards"
            )
            raise PermanentError(msg)
        log = next((each for each in view.partitions if each.partition == partition), None)
        if log is None or not log.low <= offset <= log.high:
            held = "no such partition" if log is None else f"offsets {log.low} to {log.high - 1}"
            msg = f"{self._topic}[{partition}]: expected the log to hold {offset}, got {held}"
            raise OffsetsNotThere(msg)
        place = TopicPartition(self._topic, partition, offset)
        _answered(lambda: self._alter(place))

    def _view(self) -> GroupView:
        futures = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT_S)
        group = futures[self._group].result(_TIMEOUT_S)
        state = ConsumerGroupState.DEAD if group.state is None else group.state
        topics = TopicCollection([self._topic])
        found = self._admin.describe_topics(topics, request_timeout=_TIMEOUT_S)
        topic = found[self._topic].result(_TIMEOUT_S)
        places = [TopicPartition(self._topic, each.id) for each in topic.partitions]
        low = self._ends(places, OffsetSpec.earliest())
        high = self._ends(places, OffsetSpec.latest())
        committed = self._committed(places)
        lags = [PartitionLag(n, low[n], high[n], committed[n]) for n in sorted(low)]
        return GroupView(state.name.lower().replace("_", " "), len(group.members), lags)

    def _alter(self, place: TopicPartition) -> None:
        wanted = [ConsumerGroupTopicPartitions(self._group, [place])]
        futures = self._admin.alter_consumer_group_offsets(wanted, request_timeout=_TIMEOUT_S)
        for each in futures[self._group].result(_TIMEOUT_S).topic_partitions:
            if each.error is not None:
                raise KafkaException(each.error)

    def _ends(self, places: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        futures = self._admin.list_offsets(dict.fromkeys(places, spec), request_timeout=_TIMEOUT_S)
        return {
            place.partition: future.result(_TIMEOUT_S).offset for place, future in futures.items()
        }

    def _committed(self, places: list[TopicPartition]) -> dict[int, int | None]:
        # Not by the admin client: librdkafka ends the process (SIGSEGV) when the answer is that
        # the coordinator is moving, since an admin client has no group to look for another.
        consumer = Consumer({**self._config, "group.id": self._group})
        try:
            found = consumer.committed(places, timeout=_TIMEOUT_S)
        finally:
            consumer.close()
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset if place.offset >= 0 else None for place in found}


def _answered(ask: Callable[[], T]) -> T:
    """What `ask` returns; it is asked again while a coordinator or leader is moving."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() not in _MOVING or time.monotonic() > deadline:
                msg = f"Kafka cannot serve now: {reason.str()}"
                raise DependencyDown(msg) from error
            time.sleep(_PAUSE_S)
        except TimeoutError as error:
            msg = "Kafka does not answer"
            raise DependencyDown(msg) from error
