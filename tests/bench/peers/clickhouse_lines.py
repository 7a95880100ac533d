"""Child process: the messages as they are, as lines of JSON in large blocks, into ClickHouse.

ClickHouse parses them (JSONEachRow) into a table that keeps nothing, from which views fill raw
rows and sums. Nothing is decoded here, and nothing deduplicated or rated anywhere: the limit of
the engine. The next block is read from Kafka while one is inserted.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from peer_child import Clock, Task

_BLOCK_BYTES = 64 << 20
_TAKEN = 50_000
_WAIT_S = 1.0
_UNDER_WAY_MAX = 2
_SETTINGS = {
    "input_format_json_read_objects_as_strings": 1,
    "date_time_input_format": "best_effort",
    "async_insert": 0,
    # A block that is parsed becomes a part of each table: few large ones.
    "max_insert_block_size": 1_000_000,
    "min_insert_block_size_rows": 1_000_000,
    "min_insert_block_size_bytes": 512 << 20,
}


def values_of(messages: list[Any]) -> list[bytes]:
    """Their bytes. Raises `KafkaException` where there is an error instead."""
    for message in messages:
        if message.error():
            raise KafkaException(message.error())
    return [message.value() for message in messages]


def _send(client: Any, block: bytes) -> None:
    client.raw_insert("peer_lines", insert_block=block, settings=_SETTINGS, fmt="JSONEachRow")


def main() -> None:
    """Read to the end; offsets are not committed, since no run goes on from another."""
    task = Task.of_environment()
    client, clock = task.connect(), Clock(task.messages)
    consumer = Consumer(
        {"bootstrap.servers": task.kafka, "group.id": task.group, "enable.auto.commit": False}
    )
    partitions = consumer.list_topics(task.topic, 10).topics[task.topic].partitions
    consumer.assign([TopicPartition(task.topic, each, OFFSET_BEGINNING) for each in partitions])
    under_way: deque[Future[Any]] = deque()
    lines: list[bytes] = []
    size = 0
    with ThreadPoolExecutor(1) as sender:
        while clock.left and not clock.is_idle:
            taken = values_of(consumer.consume(min(_TAKEN, clock.left), timeout=_WAIT_S))
            if taken:
                clock.read(len(taken))
            lines += taken
            size += sum(map(len, taken))
            if size < _BLOCK_BYTES and clock.left:
                continue
            while len(under_way) >= _UNDER_WAY_MAX:
                under_way.popleft().result()
            block, lines, size = b"\n".join(lines), [], 0
            under_way.append(sender.submit(_send, client, block))
        for each in under_way:
            each.result()
    clock.written()
    consumer.close()
    clock.tell()


if __name__ == "__main__":
    main()
