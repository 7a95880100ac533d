"""The source step: micro-batches, each of one partition and in offset order.

One Bytewax worker reads what the group assigns to it. Between batches it emits ticks, so that
the steps below can act on the clock; the last tick comes when the worker is told to stop.
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import cast

import numpy as np
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from dataflows.decode_ahead import Decoding
from dataflows.kafka_reader import KafkaReader, message_error
from metering.batch import RawBatch, Source, Tick
from metering.errors import AssignmentLost, TopicUnfit

#: Longest time between two ticks while messages keep coming.
_TICK_MS = 200
#: Of a message's timestamp, which is a pair.
_MILLISECONDS = itemgetter(1)

Item = RawBatch | Tick
#: What the engine gets of it.
Sent = Decoding | Tick


class UsageReader:
    """What one worker reads; used by the engine's only thread."""

    def __init__(
        self, reader: KafkaReader, held: Callable[[], list[Source]], topic: str, *,
        events_max: int, wait_s: float, clock_ms: Callable[[], int],
        is_stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`events_max` bounds a batch; one poll waits `wait_s` at most."""
        self._reader = reader
        self._held = held
        self._topic = topic
        self._events_max = events_max
        self._wait_s = wait_s
        self._clock_ms = clock_ms
        self._is_stopping = is_stopping
        self._at_end: set[Source] = set()
        self.is_behind = False
        self._ticked_ms = 0

    def next_batch(self) -> list[Item]:
        """The next micro-batches and perhaps a tick; once it is stopping, the last tick."""
        if self._is_stopping():
            return [Tick(self._clock_ms(), last=True)]
        messages = self._poll()
        items: list[Item] = list(self._batches(messages))
        now = self._clock_ms()
        if not items or now - self._ticked_ms >= _TICK_MS:
            self._ticked_ms = now
            held = self._held()
            self._at_end.intersection_update(held)
            positions = self._reader.positions
            at_end = self._at_end if self._reader.is_answering else ()
            idle = tuple((source, positions[source]) for source in at_end)
            items.append(Tick(now, idle))
        return items

    def _poll(self) -> list[Message]:
        before = {source.partition: source for source in self._held()}
        wanted = 2 * self._events_max
        messages = self._reader.poll(wanted, self._wait_s)
        self.is_behind = len(messages) == wanted
        for source in self._held():
            if before.get(source.partition, source) != source:
                # Taken away and given back within one poll: messages of both assignments may be
                # among these, and they cannot be told apart.
                msg = f"{source.stream} partition {source.partition} was assigned anew"
                raise AssignmentLost(msg)
        return messages

    def _batches(self, messages: list[Message]) -> list[RawBatch]:
        sources = {source.partition: source for source in self._held()}
        batches: list[RawBatch] = []
        for partition, group in sorted(_by_partition(messages).items()):
            source = sources.get(partition)
            if source is None:
                continue  # taken away within the poll; its next owner reads it
            records = self._records(source, group)
            size = self._events_max
            cuts = [records[at : at + size] for at in range(0, len(records), size)]
            batches.extend(self._batch(source, cut) for cut in cuts)
        return batches

    def _records(self, source: Source, messages: list[Message]) -> list[Message]:
        if not any(map(Message.error, messages)):
            self._at_end.discard(source)
            return messages
        records = []
        for message in messages:
            failure = message_error(message, self._topic)
            if failure is not None:
                raise failure
            if message.error() is not None:
                self._at_end.add(source)
            else:
                self._at_end.discard(source)
                records.append(message)
        return records

    def _batch(self, source: Source, records: list[Message]) -> RawBatch:
        offsets = _offsets(records)
        kind, _ = records[0].timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            msg = (
                f"topic {self._topic} partition {source.partition} offset {offsets[0]}: expected a "
                "timestamp by the broker (LogAppendTime), got one by the producer"
            )
            raise TopicUnfit(msg)
        first = self._reader.positions.get(source, offsets[0])
        following = offsets[-1] + 1
        self._reader.positions[source] = following
        values = list(map(Message.value, records))
        return RawBatch(source, offsets, _stamps(records), values, first, following)


def _by_partition(messages: list[Message]) -> dict[int, list[Message]]:
    """Messages of each partition, in their order; they come in long runs of one partition."""
    found: dict[int, list[Message]] = {}
    at = 0
    for partition, run in groupby(map(Message.partition, messages)):
        end = at + len(list(run))
        found.setdefault(partition or 0, []).extend(messages[at:end])
        at = end
    return found


def _offsets(records: list[Message]) -> Sequence[int]:
    """Offsets of a partition's messages, which ascend: the ends tell those without gaps."""
    first, last = records[0].offset() or 0, records[-1].offset() or 0
    if last - first == len(records) - 1:
        return range(first, last + 1)
    return cast("list[int]", list(map(Message.offset, records)))


def _stamps(records: list[Message]) -> Sequence[int]:
    stamps = map(_MILLISECONDS, map(Message.timestamp, records))
    return array("q", np.fromiter(stamps, np.int64, len(records)).tobytes())


class UsageSource(DynamicSource[Sent]):
    """The source as the engine sees it; `read` raises `StopIteration` at the end."""

    def __init__(self, read: Callable[[], list[Sent]]) -> None:
        """`read` is called by the engine's only worker, and must not wait for long."""
        self._read = read

    def build(
        self, _step_id: str, _worker_index: int, worker_count: int
    ) -> StatelessSourcePartition[Sent]:
        """The one partition. Raises `ValueError` for more than one worker in a process."""
        if worker_count != 1:
            msg = f"expected one worker per process, got {worker_count}; start more processes"
            raise ValueError(msg)
        return _SourcePartition(self._read)


class _SourcePartition(StatelessSourcePartition[Sent]):
    def __init__(self, read: Callable[[], list[Sent]]) -> None:
        self._read = read

    def next_batch(self) -> list[Sent]:
        return self._read()
