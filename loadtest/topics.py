"""The Kafka topic of a namespace: its name, its creation, and where its logs end."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

_TIMEOUT_S = 30.0
#: What fails is raised; a short-lived client would also log what it leaves behind.
_QUIET = {"log_level": 2}
_NO_GROUP_YET = (
    KafkaError.GROUP_ID_NOT_FOUND,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
)
#: What a broker answers for a moment after a topic was created.
_NOT_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
#: More than the pipeline takes (1 MiB), so that its own limit is what refuses a message.
_MESSAGE_BYTES = 2 * 1024 * 1024


def events_topic(namespace: str) -> str:
    """The topic of usage events that the pipeline derives from the same namespace."""
    return f"{namespace}.usage.events" if namespace else "usage.events"


def create_events_topic(bootstrap_servers: str, topic: str, partitions: int) -> None:
    """Create `topic` if it is missing; its events are stamped by the broker when they arrive.

    The rejected topic is left to `meterline migrate`, as it is what people get.

    Raises `RuntimeError` when it exists with another number of partitions, and `KafkaException`
    when the broker refuses.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **_QUIET})
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(_MESSAGE_BYTES)}
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
    try:
        admin.create_topics([wanted], request_timeout=_TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    there = _led_partitions(admin, topic)
    deadline = time.monotonic() + _TIMEOUT_S
    while there < partitions and time.monotonic() < deadline:
        time.sleep(0.1)
        there = _led_partitions(admin, topic)
    if there != partitions:
        msg = f"topic {topic}: expected {partitions} partitions, it has {there}"
        raise RuntimeError(msg)


def _led_partitions(admin: AdminClient, topic: str) -> int:
    """Partitions that have a leader; for a moment after its creation a topic has none."""
    found = admin.list_topics(topic, _TIMEOUT_S).topics[topic]
    return sum(partition.leader >= 0 for partition in found.partitions.values())


def partitions_of(bootstrap_servers: str, topic: str, *, patience_s: float = 10.0) -> int:
    """How many partitions a topic has, 0 when there is no such topic.

    Raises `KafkaException` when no broker answers within `patience_s`.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    found = admin.list_topics(timeout=patience_s).topics.get(topic)
    return 0 if found is None else len(found.partitions)


def workers_group(namespace: str) -> str:
    """The consumer group that the pipeline derives from the same namespace."""
    return f"{namespace}.meterline" if namespace else "meterline"


def group_members(bootstrap_servers: str, group: str) -> tuple[int, int]:
    """How many members a consumer group has, and how many partitions they hold together."""
    held = held_partitions(bootstrap_servers, group)
    return len(held), sum(held.values())


def held_partitions(bootstrap_servers: str, group: str) -> dict[str, int]:
    """How many partitions each member of a consumer group holds, by its id."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **_QUIET})
    try:
        described = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_S)
        members = described[group].result().members
    except KafkaException as error:
        if error.args[0].code() in _NO_GROUP_YET:
            return {}
        raise
    return {member.member_id: len(member.assignment.topic_partitions) for member in members}


def log_ends(bootstrap_servers: str, topic: str) -> dict[int, int]:
    """One past the last offset of each partition of `topic`, as the broker says."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "loadtest-log-ends"})
    try:
        partitions = consumer.list_topics(topic, _TIMEOUT_S).topics[topic].partitions
        return {partition: _log_end(consumer, topic, partition) for partition in partitions}
    finally:
        consumer.close()


def _log_end(consumer: Consumer, topic: str, partition: int) -> int:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            ends = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), _TIMEOUT_S, cached=False
            )
        except KafkaException as error:
            if error.args[0].code() not in _NOT_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return int(ends[1])
