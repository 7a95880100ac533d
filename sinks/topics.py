"""Creates the Kafka topics of a deployment and checks what exactness needs of them."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from metering.errors import DependencyDown
from metering.settings import Settings

_TIMEOUT_S = 20.0
#: Largest message that the rejected topic takes.
REJECTED_BYTES_MAX = 8 << 20


def create_topics(
    settings: Settings, config: dict[str, Any], *, partitions: int, replication: int
) -> list[str]:
    """Create the events, rejected and alerts topics where missing; the names of those created now.

    Raises `DependencyDown` when Kafka does not answer or refuses.
    """
    admin = AdminClient(config)
    wanted = [
        NewTopic(
            settings.events_topic, partitions, replication,
            config={"message.timestamp.type": "LogAppendTime"},
        ),
        NewTopic(
            settings.rejected_topic, partitions, replication,
            # A rejected message of 1 MiB is escaped: up to six bytes for one.
            config={"max.message.bytes": str(REJECTED_BYTES_MAX)},
        ),
        NewTopic(settings.alerts_topic, partitions, replication),
    ]  # fmt: skip
    created = []
    for name, future in admin.create_topics(wanted, request_timeout=_TIMEOUT_S).items():
        try:
            future.result(_TIMEOUT_S + 1)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                msg = f"Kafka did not create topic {name}: {error.args[0].str()}"
                raise DependencyDown(msg) from error
        except TimeoutError as error:
            msg = f"Kafka at {settings.kafka_bootstrap_servers} does not answer"
            raise DependencyDown(msg) from error
        else:
            created.append(name)
    return created
