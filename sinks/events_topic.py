"""Sends events to the events topic, for what an operator sends again."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from metering.errors import DependencyDown

_TIMEOUT_S = 30.0


class EventsTopic:
    """A producer of the events topic.

    Guarantee: at least once. `send` returns when every message is acknowledged by all replicas;
    after an error any of them may be there, and sending them again is harmless: they are the same
    events.
    """

    def __init__(self, config: dict[str, Any], topic: str) -> None:
        """`config` holds the shared Kafka properties."""
        self._topic = topic
        self._producer = Producer(
            {
                **config,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": int(_TIMEOUT_S * 1000),
            }
        )

    def send(self, events: list[tuple[str, bytes]]) -> None:
        """Produce (customer, event) pairs and wait; "" is no key. Raises `DependencyDown`."""
        failures: list[str] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error.str())

        for customer, event in events:
            self._produce(customer or None, event, delivered=delivered)
        left = self._producer.flush(_TIMEOUT_S + 1)
        if left or failures:
            reason = failures[0] if failures else f"{left} messages not acknowledged in time"
            msg = f"Kafka did not take all events into {self._topic}: {reason}; repeat the command"
            raise DependencyDown(msg)

    def _produce(self, key: str | None, value: bytes, *, delivered: Any) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=delivered)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                msg = f"Kafka refused an event of {len(value)} bytes: {error.args[0].str()}"
                raise DependencyDown(msg) from error
            else:
                return
