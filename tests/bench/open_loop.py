"""Sends events at fixed times, whatever becomes of them, with probes among them."""

from __future__ import annotations

import time
from typing import NamedTuple

from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as KafkaMessage
from deployment import PARTITIONS, Deployment

from dataflows.kafka_reader import kafka_config
from loadtest.population import partition_of
from loadtest.preload import Chunk
from loadtest.usage import rfc3339

TICK_S = 0.01
_PROBE_EVERY_TICKS = 2
_LEAD_S = 0.3
_FLUSH_S = 60.0


class Probe(NamedTuple):
    """One event of a customer that has no other: due at `due_s` (monotonic seconds)."""

    customer: str
    due_s: float
    after_s: float
    occurred_s: int

    @property
    def value(self) -> bytes:
        """The event as JSON."""
        moment = rfc3339(self.occurred_s * 1_000_000)
        return (
            f'{{"id":"{self.customer}","customer_id":"{self.customer}","meter":"workflow_runs",'
            f'"quantity":1,"occurred_at":"{moment}","dimensions":{{"plan":"probe"}}}}'
        ).encode()


class OpenLoop:
    """One run; `probes` stand in the order in which they are due."""

    def __init__(self, deployment: Deployment, chunks: list[Chunk], rate: int) -> None:
        """Send the events of `chunks` at `rate` a second, in ticks of 10 ms; start soon."""
        settings = deployment.settings
        self._topic = settings.events_topic
        self._messages = [
            message for chunk in chunks for message in zip(*chunk, strict=True)
        ]  # fmt: skip
        self._each = round(rate * TICK_S)
        self._ticks = -(-len(self._messages) // self._each)
        self._failures: list[str] = []
        self.behind_s = 0.0
        self._producer = Producer(
            {
                **kafka_config(settings),
                "enable.idempotence": True,
                "log_level": 2,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
                "delivery.report.only.error": True,
                "on_delivery": self._remember_failure,
            }
        )
        self._producer.list_topics(self._topic, 10)
        self._began_s = time.monotonic() + _LEAD_S
        now = int(time.time())
        self.probes = [
            Probe(f"probe-{tick:06d}", self._began_s + tick * TICK_S, tick * TICK_S, now)
            for tick in range(0, self._ticks, _PROBE_EVERY_TICKS)
        ]

    def run(self) -> None:
        """Send everything. Raises `RuntimeError` when Kafka does not take an event."""
        produce, topic = self._producer.produce, self._topic
        for tick in range(self._ticks):
            due = self._began_s + tick * TICK_S
            ahead = due - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            else:
                self.behind_s = max(self.behind_s, -ahead)
            for key, value, place in self._messages[tick * self._each : (tick + 1) * self._each]:
                produce(topic, value, key, partition=place)
            if tick % _PROBE_EVERY_TICKS == 0:
                probe = self.probes[tick // _PROBE_EVERY_TICKS]
                place = partition_of(probe.customer, PARTITIONS)
                produce(topic, probe.value, probe.customer.encode(), partition=place)
            self._producer.poll(0)
        left = self._producer.flush(_FLUSH_S)
        if left or self._failures:
            msg = f"{left} events not acknowledged, {len(self._failures)} failed"
            raise RuntimeError(msg)

    def _remember_failure(self, error: KafkaError | None, _message: KafkaMessage) -> None:
        if error is not None:
            self._failures.append(str(error))
