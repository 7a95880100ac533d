"""From the moment an event had to be sent until a query of the tables shows it, per event.

What is durable is known by offset; the log of a partition holds our messages in the order in which
they were handed over, so the next offset after what is durable says which of them are.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from loadtest.load.schedule import TICKS_PER_S

Milliseconds = NDArray[np.int64]
_MS = 1000


class Latencies:
    """Counts latencies by whole milliseconds, rounded up."""

    def __init__(self, began_s: float, ends: Mapping[int, int]) -> None:
        """`began_s` is the schedule's start (monotonic), `ends` where the logs ended before it."""
        self._began_s = began_s
        self._bases = dict(ends)
        self._waiting: dict[int, list[NDArray[np.int32]]] = {}
        self._done: dict[int, int] = {}
        self._counts = np.zeros(1, dtype=np.int64)

    @property
    def durable(self) -> int:
        """Messages of ours that are durable."""
        return sum(self._done.values())

    @property
    def counts(self) -> Milliseconds:
        """How many events had a latency of 0, 1, 2, ... ms, so far."""
        return self._counts.copy()

    def place(self, partitions: NDArray[np.int32], ticks: NDArray[np.int32]) -> None:
        """Messages that are about to be sent, in order."""
        order = np.argsort(partitions, kind="stable")
        found, starts = np.unique(partitions[order], return_index=True)
        for partition, some in zip(
            found.tolist(), np.split(ticks[order], starts[1:]), strict=True
        ):  # fmt: skip
            self._waiting.setdefault(partition, []).append(some)

    def observe(self, next_offsets: Mapping[int, int], at_s: float) -> Milliseconds:
        """Latencies of the messages that became durable, as seen at `at_s` (monotonic)."""
        found = []
        for partition, next_offset in next_offsets.items():
            base = self._bases.get(partition, 0)
            more = next_offset - base - self._done.get(partition, 0)
            if more > 0:
                found.append(self._take(partition, more))
        if not found:
            return np.empty(0, dtype=np.int64)
        due_s = self._began_s + np.concatenate(found) / TICKS_PER_S
        waited_ms = np.maximum(at_s - due_s, 0.0) * _MS
        latencies: Milliseconds = np.ceil(waited_ms).astype(np.int64)
        counts = np.bincount(latencies, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        return latencies

    def percentile_ms(self, share: float) -> int:
        """The least latency that a `share` (0..1) of all events does not exceed; 0 for none."""
        return percentile_of_counts(self._counts, share)

    def _take(self, partition: int, more: int) -> NDArray[np.int32]:
        waiting = self._waiting.get(partition, [])
        taken: list[NDArray[np.int32]] = []
        while more and waiting:
            ticks = waiting[0]
            taken.append(ticks[:more])
            if len(ticks) > more:
                waiting[0] = ticks[more:]
            else:
                waiting.pop(0)
            more -= len(taken[-1])
        count = sum(map(len, taken))
        self._done[partition] = self._done.get(partition, 0) + count
        return np.concatenate(taken) if taken else np.empty(0, dtype=np.int32)


def percentile_of_counts(counts: Milliseconds, share: float) -> int:
    """By nearest rank: the least value that at least a `share` (0..1) of all does not exceed."""
    total = int(counts.sum())
    if not total:
        return 0
    rank = max(int(np.ceil(share * total)), 1)
    return int(np.searchsorted(np.cumsum(counts), rank))


def percentile(latencies: Milliseconds, share: float) -> int:
    """The same of latencies that are not counted yet."""
    if not len(latencies):
        return 0
    rank = max(int(np.ceil(share * len(latencies))), 1)
    return int(np.partition(latencies, rank - 1)[rank - 1])
