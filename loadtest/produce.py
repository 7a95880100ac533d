"""Messages into Kafka: every one delivered, in order per partition, or an error.

The producer is idempotent with acks from all replicas; it reports failures only, and at the end
the logs must have grown by exactly what was handed over.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, Producer
from confluent_kafka.cimpl import Message as KafkaMessage

from loadtest.plan import Message
from loadtest.preload import Chunk
from loadtest.topics import log_ends

_FLUSH_S = 60.0
_POLL_EVERY = 500
#: Behind its pace by more than this, on-time events would arrive late: the truth would lie.
_LAG_S_MAX = 120.0


class NotDelivered(Exception):
    """Kafka did not take everything that was produced."""


@dataclass(slots=True)
class Delivery:
    """What was delivered."""

    messages: int = 0
    events: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Delivering:
    """One run of producing to `topic`; nobody else may produce to it meanwhile."""

    def __init__(self, bootstrap_servers: str, topic: str, *, linger_ms: int = 20) -> None:
        """Connect, and remember where the logs end; `linger_ms` is how long a batch gathers."""
        self.delivery = Delivery()
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._failures: list[str] = []
        self.ends_before = log_ends(bootstrap_servers, topic)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": linger_ms,
                "message.max.bytes": 2 * 1024 * 1024,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 400_000,
                "queue.buffering.max.kbytes": 400_000,
                "delivery.report.only.error": True,
                "log_level": 2,  # what fails is raised; a broker that stops after us is not news
                "on_delivery": self._remember_failure,
            }
        )
        self._started = time.monotonic()

    def send(self, message: Message) -> None:
        """Hand one message over, in order; waits while the queue is full."""
        while True:
            try:
                self._producer.produce(
                    self._topic, message.value, message.key, partition=message.partition
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self.delivery.messages += 1
        self.delivery.events += message.events
        self.delivery.bytes += len(message.value or b"")
        if self.delivery.messages % _POLL_EVERY == 0:
            self._check()

    def send_chunk(self, chunk: Chunk) -> None:
        """Hand a chunk over; waits while the queue is full."""
        self.send_rows(zip(chunk.keys, chunk.values, chunk.partitions, strict=True))

    def send_rows(self, columns: Iterable[tuple[bytes, bytes | None, int]]) -> None:
        """Hand (key, value, partition) of messages over, in order, each one event.

        One by one: the client's `produce_batch` goes by the key, whatever partition is named.
        """
        produce, count, size = self._producer.produce, 0, 0
        for key, value, partition in columns:
            while True:
                try:
                    produce(self._topic, value, key, partition=partition)
                    break
                except BufferError:
                    self._producer.poll(0.05)
            count += 1
            size += len(value or b"")
        self.delivery.messages += count
        self.delivery.events += count
        self.delivery.bytes += size
        self._check()

    def wait_until(self, due_s: float) -> None:
        """Sleep until `due_s` seconds after the start. Raises `NotDelivered` when far behind."""
        ahead = self._started + due_s - time.monotonic()
        if ahead > 0:
            self._producer.poll(0)
            time.sleep(ahead)
        elif -ahead > _LAG_S_MAX:
            msg = f"producing is {-ahead:.0f} s behind its pace: lower the rate"
            raise NotDelivered(msg)

    def finish(self) -> Delivery:
        """Wait for every acknowledgement. Raises `NotDelivered` unless the logs hold all of it."""
        left = self._producer.flush(_FLUSH_S)
        self._check()
        ends = log_ends(self._bootstrap_servers, self._topic)
        grown = sum(ends.values()) - sum(self.ends_before.values())
        if left or grown != self.delivery.messages:
            msg = (
                f"topic {self._topic}: expected the logs to grow by {self.delivery.messages}"
                f" messages, they grew by {grown}; {left} were not acknowledged"
            )
            raise NotDelivered(msg)
        self.delivery.seconds = time.monotonic() - self._started
        return self.delivery

    def _remember_failure(self, error: KafkaError | None, _message: KafkaMessage) -> None:
        if error is not None:
            self._failures.append(str(error))

    def _check(self) -> None:
        self._producer.poll(0)
        if self._failures:
            msg = f"{len(self._failures)} messages failed; the first: {self._failures[0]}"
            raise NotDelivered(msg)


def produce(
    messages: Iterable[Message],
    *,
    bootstrap_servers: str,
    topic: str,
    paced: bool = True,
    on_events: Callable[[int], None] = lambda _events: None,
) -> Delivery:
    """Produce all messages, open loop: each when it is due, however the pipeline does.

    With `paced` off, as fast as Kafka takes them. `on_events` is called after every message with
    the number of events produced so far. Raises `NotDelivered`.
    """
    delivering = Delivering(bootstrap_servers, topic)
    for message in messages:
        if paced:
            delivering.wait_until(message.due_s)
        delivering.send(message)
        on_events(delivering.delivery.events)
    return delivering.finish()


def produce_chunks(
    chunks: Iterable[Chunk],
    *,
    bootstrap_servers: str,
    topic: str,
    on_events: Callable[[int], None] = lambda _events: None,
) -> Delivery:
    """Produce a preload as fast as Kafka takes it; else like `produce`."""
    delivering = Delivering(bootstrap_servers, topic)
    for chunk in chunks:
        delivering.send_chunk(chunk)
        on_events(delivering.delivery.events)
    return delivering.finish()
