"""The Kafka topic of a namespace: its name, its creation, and where its logs end."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

_TIMEOUT_S = 30.0
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
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(_MESSAGE_BYTES)}
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
    try:
        admin.create_topics([wanted], request_timeout=_TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    there = len(admin.list_topics(topic, _TIMEOUT_S).topics[topic].partitions)
    if there != partitions:
        msg = f"topic {topic}: expected {partitions} partitions, it has {there}"
        raise RuntimeError(msg)


def log_ends(bootstrap_servers: str, topic: str) -> dict[int, int]:
    """One past the last offset of each partition of `topic`, as the broker says."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "loadtest-log-ends"})
    try:
        partitions = consumer.list_topics(topic, _TIMEOUT_S).topics[topic].partitions
        return {
            partition: consumer.get_watermark_offsets(
                TopicPartition(topic, partition), _TIMEOUT_S, cached=False
            )[1]
            for partition in partitions
        }
    finally:
        consumer.close()
