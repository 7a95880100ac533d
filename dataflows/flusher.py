"""Gathers outcomes and hands them to the sink, one flush after the other, beside the dataflow.

A flush is cut when its oldest outcome waits long enough, or the room is full and half of it totals
that it changed. Until then rows that fill the room go ahead: they are written, and leave memory,
while the flush gathers on; its totals follow with the cut. One background thread writes, so that
waiting for ClickHouse overlaps with decoding; the next write is handed over only when it is done,
which holds the whole dataflow back while the sink is slow. What was handed over leaves memory only
when it is durable; an error surfaces at the next call and nothing is written after it.
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
#: Share of the room from which rows are handed over if nothing is being written. The rest is for
#: what comes while the write before takes longer than usual: nothing has to wait for it then.
_MUCH = 0.75
#: Share of the room from which totals do not wait for more rows to go ahead of them: little would.
_MANY_TOTALS = 0.5
#: Writes of rows ahead of one cut, however long it may wait: something of each stays in memory.
_AHEAD_MOST = 8


class Sink(Protocol):
    """Writes flushes. Raises `TransientError` when all may be tried again from the start."""

    def write_ahead(self, flush: Flush) -> None:
        """Rows of a flush whose totals follow; they are durable when this returns."""
        ...

    def write(self, flush: Flush) -> None:
        """When this returns everything in the flush is durable and committed."""
        ...


class Flusher:
    """Used by the dataflow's thread; `clock_ms` gives milliseconds, and never goes back."""

    def __init__(
        self, ledger: Ledger, sink: Sink, clock_ms: Callable[[], int], *,
        rows_max: int, wait_ms: Callable[[], int], is_current: Callable[[Source], bool],
        executor: Executor | None = None,
    ) -> None:  # fmt: skip
        """Gather for `sink`; `executor` writes, one flush at a time (a thread by default).

        `rows_max` bounds what waits in memory: events, and totals, which count three times.
        `wait_ms` tells how old a flush may become now, more while catching up;
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
        self._ahead = 0
        self._writer = executor or ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._writing: tuple[int | None, Future[None]] | None = None  # no cut: rows ahead

    def add(self, outcome: Outcome) -> None:
        """Take over what a batch adds; cuts a flush when it is time."""
        part = self._part(outcome.source, outcome.first_offset)
        _extend(part, outcome)
        size = outcome.accepted + len(outcome.rejections) + len(outcome.suppressions)
        size += 0 if outcome.duplicates is None else outcome.duplicates.num_rows
        self._waiting += max(size, 1)
        self.poll()

    def advance(self, source: Source, *, offset: int, watermark_ms: int) -> None:
        """An idle partition's watermark moved; `offset` is where it is read to."""
        part = self._part(source, offset)
        part.watermark_ms = max(part.watermark_ms, watermark_ms)

    def poll(self) -> None:
        """Hand over what it is time for. Raises what the last write raised."""
        totals = _TOTALS_WEIGHT * self._ledger.changed
        weight = self._waiting + totals
        self._settle(wait=weight >= self._rows_max)
        if not self._parts or self._writing is not None:
            return
        is_due = self._clock_ms() - self._since_ms >= self._wait_ms()
        may_go_ahead = totals < self._rows_max * _MANY_TOTALS and self._ahead < _AHEAD_MOST
        if is_due or (weight >= self._rows_max and not may_go_ahead):
            self._cut()
        elif may_go_ahead and weight >= self._rows_max * _MUCH:
            self._send_ahead()

    def drain(self) -> None:
        """Write everything out and wait for it."""
        self._settle(wait=True)
        if self._parts:
            self._cut()
            self._settle(wait=True)

    def close(self) -> None:
        """Wait for the write under way, whatever becomes of it; cut nothing more."""
        self._writer.shutdown(wait=True, cancel_futures=True)

    @property
    def is_gathering(self) -> bool:
        """Whether there is anything that was not cut yet."""
        return bool(self._parts)

    def _part(self, source: Source, offset: int) -> PartitionFlush:
        if not self._parts:
            self._since_ms = self._clock_ms()
        return self._parts.setdefault(source, PartitionFlush(source, offset, offset))

    def _settle(self, *, wait: bool) -> None:
        if self._writing is None:
            return
        number, future = self._writing
        if wait or future.done():
            future.result()
            self._writing = None
            if number is not None:
                self._ledger.settle(number)

    def _cut(self) -> None:
        number, totals = self._ledger.cut()
        parts = self._taken()
        for part in parts:
            part.totals = totals.get(part.source)
        self._parts = {}
        self._ahead = 0
        flush = Flush(number, parts, *self._ledger.take_new_prices())
        self._writing = (number, self._writer.submit(self._sink.write, flush))

    def _send_ahead(self) -> None:
        parts = self._taken()
        self._parts = {part.source: part.emptied() for part in parts}
        self._ahead += 1
        flush = Flush(0, parts, *self._ledger.take_new_prices())
        self._writing = (None, self._writer.submit(self._sink.write_ahead, flush))

    def _taken(self) -> list[PartitionFlush]:
        self._waiting = 0
        return [part for part in self._parts.values() if self._is_current(part.source)]


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
