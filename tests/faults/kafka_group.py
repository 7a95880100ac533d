"""The log and its consumer group, asked and altered from outside."""

from __future__ import annotations

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

_TIMEOUT_S = 30.0


class KafkaGroup:
    """One group on one topic."""

    def __init__(self, bootstrap_servers: str, group: str, topic: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        self._group = group
        self._topic = topic

    def ends(self) -> dict[int, int]:
        """One past the last offset of each partition."""
        return self._offsets(OffsetSpec.latest())

    def committed(self) -> dict[int, int]:
        """The committed offset of each partition that has one."""
        wanted = [ConsumerGroupTopicPartitions(self._group)]
        futures = self._admin.list_consumer_group_offsets(wanted, request_timeout=_TIMEOUT_S)
        found = futures[self._group].result().topic_partitions or []
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def commit(self, offsets: dict[int, int]) -> None:
        """Set the group's offsets, whatever the log holds; it must have no members."""
        places = [TopicPartition(self._topic, p, offset) for p, offset in offsets.items()]
        wanted = [ConsumerGroupTopicPartitions(self._group, places)]
        futures = self._admin.alter_consumer_group_offsets(wanted, request_timeout=_TIMEOUT_S)
        for place in futures[self._group].result().topic_partitions or []:
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
        partitions = self._admin.list_topics(self._topic, _TIMEOUT_S).topics[self._topic].partitions
        places = {TopicPartition(self._topic, number): spec for number in partitions}
        while True:
            found = self._admin.list_offsets(places, request_timeout=_TIMEOUT_S)
            try:
                return {place.partition: future.result().offset for place, future in found.items()}
            except KafkaException as error:
                # For a moment after a partition was created.
                if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                    raise
