"""Sends changes of findings to their topic, for programs of customers and finance.

Guarantee: at least once; `send` returns when every message is acknowledged by all replicas. The
key is the customer, so what is said of one stays in order; the message's `id` tells a repeated one.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from metering.alert import Change
from metering.errors import DependencyDown


class AlertTopic:
    """A producer of the alerts topic; used by one thread."""

    name = "topic"

    def __init__(self, config: dict[str, Any], topic: str, *, timeout_s: int = 30) -> None:
        """`config` holds the shared Kafka properties."""
        self._topic = topic
        self._timeout_s = timeout_s
        self._producer = Producer(
            {**config, "enable.idempotence": True, "message.timeout.ms": timeout_s * 1000}
        )

    def send(self, changes: Sequence[Change]) -> list[Change]:
        """Produce and wait; all of `changes`. Raises `DependencyDown` unless all are taken."""
        failures: list[str] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error.str())

        try:
            for change in changes:
                self._producer.produce(
                    self._topic, orjson.dumps(change.document()), change.finding.key.customer_id,
                    on_delivery=delivered,
                )  # fmt: skip
                self._producer.poll(0)
        except (BufferError, KafkaException) as error:
            msg = f"Kafka refuses alerts for {self._topic}: {error}"
            raise DependencyDown(msg) from error
        left = self._producer.flush(self._timeout_s)
        if left or failures:
            reason = failures[0] if failures else f"{left} messages not acknowledged in time"
            msg = f"Kafka did not take alerts into {self._topic}: {reason}"
            raise DependencyDown(msg)
        return list(changes)
