"""Watermarks: to which moment each partition's events are all there.

The watermark of a partition is the greatest `occurred_at` seen, less the allowed lateness. It
never goes back, and an event counts for at most its record timestamp, so one that claims to be
from the future cannot push it. While a partition is read to its end the clock moves it on.

An event is late when it arrived more than the allowed lateness after it occurred: a fact of the
record alone, so that a replay says the same.
"""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from metering.batch import EventBatch, Source


class Watermarks:
    """Watermarks of the partitions that one worker reads; Unix milliseconds UTC."""

    def __init__(self, allowed_lateness: timedelta) -> None:
        """All partitions start unknown (0)."""
        self._lateness_ms = int(allowed_lateness / timedelta(milliseconds=1))
        self._values: dict[Source, int] = {}

    def late(self, batch: EventBatch) -> NDArray[np.bool_]:
        """Which events arrived more than the allowed lateness after they occurred."""
        return batch.record_ms * 1000 - batch.occurred_us > self._lateness_ms * 1000

    def observe(self, batch: EventBatch) -> int:
        """The partition's watermark after the batch."""
        if not len(batch):
            return self.value(batch.source)
        seen_ms = np.minimum(batch.occurred_us // 1000, batch.record_ms).max()
        return self._advance(batch.source, int(seen_ms) - self._lateness_ms)

    def idle(self, source: Source, now_ms: int) -> int:
        """The partition's watermark when it is read to its end at `now_ms`."""
        return self._advance(source, now_ms - self._lateness_ms)

    def value(self, source: Source) -> int:
        """The watermark, or 0 while nothing is known."""
        return self._values.get(source, 0)

    def forget(self, stream: str, partition: int) -> None:
        """The partition was taken away."""
        for source in [s for s in self._values if (s.stream, s.partition) == (stream, partition)]:
            del self._values[source]

    def _advance(self, source: Source, reached_ms: int) -> int:
        value = max(reached_ms, self._values.get(source, 0))
        self._values[source] = value
        return value
