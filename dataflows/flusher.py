"""Gathers outcomes and hands them to the sink, one flush after the other, beside the dataflow.

A flush is cut when enough rows wait or the oldest waits long enough. It is written by one
background thread, so that waiting for ClickHouse overlaps with decoding; the next one is cut only
when it is done, which holds the whole dataflow back while the sink is slow. What was cut leaves
memory only when it is durable; an error surfaces at the next call and nothing is cut after it.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Protocol

from dataflows.ledger import Ledger
from dataflows.outcome import Outcome
from metering.batch import Source
from metering.flush import Flush, PartitionFlush

#: Rows of events that one of totals counts for: it takes the memory of two, and more while it is
#: written.
_TOTALS_WEIGHT = 3


class Sink(Protocol):
    """Writes one flush; when `write` returns everything in it is durable and committed."""

    def write(self, flush: Flush) -> None:
        """Raises `TransientError` when it may be tried again from the start."""
        ...


class Flusher:
    """Used by the dataflow's thread; `clock_ms` gives Unix milliseconds."""

    def __init__(
        self, ledger: Ledger, sink: Sink, clock_ms: Callable[[], int], *,
        rows_max: int, wait_ms: Callable[[], int], is_current: Callable[[Source], bool],
        executor: Executor | None = None,
    ) -> None:  # fmt: skip
        """Gather for `sink`; `executor` writes, one flush at a time (a thread by default).

        `rows_max` bounds what waits in memory: events, and totals, which count three times.
        `wait_ms` tells how long the oldest event may wait now, longer while catching up;
        `is_current` whether this worker still holds an assignment.
        """
        self._ledger = ledger
        self._sink = sink
        self._clock_ms = clock_ms
        self._rows_max = rows_max
        self._wait_ms = wait_ms
        self._is_current = is_current
        self._parts: dict[Source, PartitionFlush] = {}
        self._waiting = 0
        self._since_ms = 0
        self._writer = executor or ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._writing: tuple[int, Future[None]] | None = None

    def add(self, outcome: Outcome) -> None:
        """Take over what a batch adds; cuts a flush when it is time."""
        part = self._parts.get(outcome.source)
        if part is None:
            part = PartitionFlush(outcome.source, outcome.first_offset, outcome.next_offset)
            self._parts[outcome.source] = part
        if not self._waiting:
            self._since_ms = self._clock_ms()
        _extend(part, outcome)
        size = outcome.accepted + len(outcome.rejections) + len(outcome.suppressions)
        size += 0 if outcome.duplicates is None else outcome.duplicates.num_rows
        self._waiting += max(size, 1)
        self.poll()

    def advance(self, source: Source, *, offset: int, watermark_ms: int) -> None:
        """An idle partition's watermark moved; `offset` is where it is read to."""
        part = self._parts.get(source)
        if part is None:
            part = PartitionFlush(source, offset, offset)
            self._parts[source] = part
            if not self._waiting:
                self._since_ms = self._clock_ms()
            self._waiting += 1
        part.watermark_ms = max(part.watermark_ms, watermark_ms)

    def poll(self) -> None:
        """Cut a flush if it is time. Raises what the last write raised."""
        is_full = self._waiting + _TOTALS_WEIGHT * self._ledger.changed >= self._rows_max
        self._settle(wait=is_full)
        if not self._waiting or self._writing is not None:
            return
        age_ms = self._clock_ms() - self._since_ms
        if is_full or age_ms >= self._wait_ms():
            self._cut()

    def drain(self) -> None:
        """Write everything out and wait for it."""
        self._settle(wait=True)
        if self._waiting:
            self._cut()
            self._settle(wait=True)

    def close(self) -> None:
        """Wait for the write under way, whatever becomes of it; cut nothing more."""
        self._writer.shutdown(wait=True, cancel_futures=True)

    @property
    def waiting(self) -> int:
        """Events gathered and not cut yet."""
        return self._waiting

    def _settle(self, *, wait: bool) -> None:
        if self._writing is None:
            return
        number, future = self._writing
        if wait or future.done():
            future.result()
            self._writing = None
            self._ledger.settle(number)

    def _cut(self) -> None:
        number, totals = self._ledger.cut()
        parts = [part for part in self._parts.values() if self._is_current(part.source)]
        for part in parts:
            part.totals = totals.get(part.source)
        self._parts = {}
        self._waiting = 0
        flush = Flush(number, parts, *self._ledger.take_new_prices())
        self._writing = (number, self._writer.submit(self._sink.write, flush))


def _extend(part: PartitionFlush, outcome: Outcome) -> None:
    part.next_offset = max(part.next_offset, outcome.next_offset)
    part.watermark_ms = max(part.watermark_ms, outcome.watermark_ms)
    if outcome.events is not None:
        part.events.append(outcome.events)
    if outcome.duplicates is not None:
        part.duplicates.append(outcome.duplicates)
    part.rejections.extend(outcome.rejections)
    part.suppressions.extend(outcome.suppressions)
    part.gaps.extend(outcome.gaps)
