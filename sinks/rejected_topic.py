"""Sends rejected events to their topic, for the teams that produced them.

Guarantee: at least once; `send` returns when every message is acknowledged by all replicas. The
key is the coordinate, so a reader can drop what a replay sent again.
"""

from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from metering.batch import Source
from metering.errors import DependencyDown
from metering.rejection import Rejection
from sinks.topics import REJECTED_BYTES_MAX

#: A larger message is sent without the event's bytes; the table `rejected_events` has them.
_VALUE_BYTES_MAX = REJECTED_BYTES_MAX - 4096


class KafkaRejectedTopic:
    """A producer of the rejected topic; used by the flush thread only."""

    def __init__(self, config: dict[str, Any], topic: str, *, timeout_s: float = 30.0) -> None:
        """`config` holds the shared Kafka properties."""
        self._topic = topic
        self._timeout_s = timeout_s
        self._producer = Producer(
            {
                **config,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.max.bytes": REJECTED_BYTES_MAX,
                "message.timeout.ms": int(timeout_s * 1000),
            }
        )

    def send(self, rejected: list[tuple[Source, Rejection]]) -> None:
        """Produce and wait. Raises `DependencyDown` unless every message was acknowledged."""
        failures: list[str] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error.str())

        for source, found in rejected:
            key = f"{source.stream}/{source.partition}/{found.offset}/{found.index}"
            value = orjson.dumps(_body(source, found))
            if len(value) > _VALUE_BYTES_MAX:
                value = orjson.dumps(_body(source, found) | {"event": None})
            while True:
                try:
                    self._producer.produce(self._topic, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
                except KafkaException as error:
                    msg = f"Kafka refuses rejected events for {self._topic}: {error.args[0].str()}"
                    raise DependencyDown(msg) from error
        left = self._producer.flush(self._timeout_s)
        if left or failures:
            reason = failures[0] if failures else f"{left} messages not acknowledged in time"
            msg = f"Kafka did not take rejected events into {self._topic}: {reason}"
            raise DependencyDown(msg)


def _body(source: Source, found: Rejection) -> dict[str, Any]:
    return {
        "code": found.code,
        "sentence": found.sentence,
        "stream": source.stream,
        "partition": source.partition,
        "offset": found.offset,
        "index": found.index,
        "record_time_ms": found.record_time_ms,
        "event": found.event.decode("utf-8", "replace"),
    }
