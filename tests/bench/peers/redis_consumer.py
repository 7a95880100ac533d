"""Child process: a consumer written by hand. `SET NX` by event; with `pipelined`, one trip a batch.

The usual loop: take a batch, drop what Redis knows, insert the rest, commit the offsets. Totals
come of a materialized view into a SummingMergeTree. orjson decodes, rows go in by column.
"""

from __future__ import annotations

import sys
from typing import Any

import orjson
import redis
from confluent_kafka import Consumer, KafkaException
from peer_child import WINDOW_S, Clock, Task, insert_events, with_types

#: As many as one insert should have; with a trip to Redis for each, that is a second's work.
_BATCH = {"single": 10_000, "pipelined": 50_000}
_WAIT_S = 1.0


class FirstOf:
    """Which events Redis did not know yet."""

    def __init__(self, task: Task) -> None:
        self._store = redis.Redis.from_url(task.redis)
        self._prefix = task.group

    def single(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One trip for each event."""
        claim = self._store.set
        return [e for e in events if claim(self._name(e), 1, nx=True, ex=WINDOW_S)]

    def pipelined(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One trip for all."""
        trip = self._store.pipeline(transaction=False)
        for event in events:
            trip.set(self._name(event), 1, nx=True, ex=WINDOW_S)
        return [event for event, is_new in zip(events, trip.execute(), strict=True) if is_new]

    def _name(self, event: dict[str, Any]) -> str:
        return f"{self._prefix}:{event['customer_id']}:{event['meter']}:{event['id']}"


def decode(message: Any) -> dict[str, Any]:
    """One event of a message. Raises `KafkaException` where there is an error instead."""
    if message.error():
        raise KafkaException(message.error())
    event = with_types(orjson.loads(message.value()))
    event["dimensions"] = orjson.dumps(event["dimensions"]).decode()
    return event


def main() -> None:
    """Read to the end."""
    way = sys.argv[1]
    task = Task.of_environment()
    client, clock = task.connect(), Clock(task.messages)
    first_of = getattr(FirstOf(task), way)
    consumer = Consumer(
        {
            "bootstrap.servers": task.kafka,
            "group.id": task.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 10_000,
        }
    )
    consumer.subscribe([task.topic])
    while clock.left and not clock.is_idle:
        messages = consumer.consume(min(_BATCH[way], clock.left), timeout=_WAIT_S)
        if not messages:
            continue
        clock.read(len(messages))
        events = first_of([decode(message) for message in messages])
        if events:
            insert_events(client, events)
        consumer.commit(asynchronous=False)
        clock.written()
    consumer.close()
    clock.tell()


if __name__ == "__main__":
    main()
