"""What a worker measures of its batches and flushes, whole columns at a time."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataflows.outcome import Outcome
from metering.batch import EventBatch
from metering.flush import Flush, PartitionFlush
from metering.metrics import WorkerMetrics

_US = 1000


class Measures:
    """Writes the metrics of one worker; labels are outcomes, codes and partitions only."""

    def __init__(self, metrics: WorkerMetrics, allowed_lateness: timedelta) -> None:
        """Events are late by what exceeds `allowed_lateness`."""
        self._metrics = metrics
        self._lateness_ms = int(allowed_lateness / timedelta(milliseconds=1))
        metrics.lateness.set(allowed_lateness.total_seconds())

    def count(self, batch: EventBatch, outcome: Outcome) -> None:
        """A batch was accounted for. Called by the dataflow's thread."""
        duplicates = 0 if outcome.duplicates is None else outcome.duplicates.num_rows
        absorbed = len(batch) - outcome.accepted - duplicates - outcome.conflicts
        for name, count in (
            ("accepted", outcome.accepted), ("duplicate", duplicates),
            ("conflict", outcome.conflicts), ("rejected", len(batch.rejections)),
            ("suppressed", len(batch.suppressions)), ("absorbed", absorbed),
        ):  # fmt: skip
            if count:
                self._metrics.events.labels(name).inc(count)
        for rejection in outcome.rejections:
            self._metrics.rejects.labels(str(rejection.code)).inc()
        self._metrics.late.inc(outcome.late)

    def wrote_ahead(self, *, seconds: float) -> None:
        """Rows of a flush are durable, after so many seconds. Called by the flush thread."""
        self._metrics.ahead_seconds.observe(seconds)

    def flushed(self, flush: Flush, *, seconds: float, now_ms: int) -> None:
        """A flush is durable since `now_ms`, after so many seconds. Called by the flush thread."""
        metrics = self._metrics
        metrics.flush_seconds.observe(seconds)
        batches = [rows for part in flush.parts for rows in part.times_ahead + part.events]
        metrics.flush_events.observe(sum(rows.num_rows for rows in batches))
        for events in batches:
            self._delays(events, now_ms)
        for part in flush.parts:
            name = part.source.partition
            if part.watermark_ms:
                metrics.watermark.labels(name).set(part.watermark_ms / 1000)
            queryable_ms = _queryable_ms(part, idle_ms=now_ms - int(seconds * 1000))
            if queryable_ms:
                metrics.queryable.labels(name).set(queryable_ms / 1000)

    def _delays(self, events: pa.RecordBatch, now_ms: int) -> None:
        record_ms = _whole(events, "record_time")
        occurred_ms = _whole(events, "occurred_at") // _US
        self._metrics.record_delay.observe(np.maximum(now_ms - record_ms, 0))
        self._metrics.event_delay.observe(np.maximum(now_ms - occurred_ms, 0))
        late = np.asarray(events.column("late"))
        if late.any():
            by_ms = record_ms[late] - occurred_ms[late] - self._lateness_ms
            self._metrics.late_by.observe(np.maximum(by_ms, 0))


def _queryable_ms(part: PartitionFlush, *, idle_ms: int) -> int:
    """Newest record timestamp in a partition's part, 0 when it does not say.

    A part that covers no offset is of a partition that was read to its end: everything that had
    arrived when it was cut, some time before `idle_ms`, is in the tables.
    """
    if part.first_offset == part.next_offset:
        return idle_ms
    return part.newest_ms()


def _whole(rows: pa.RecordBatch, name: str) -> NDArray[np.int64]:
    found: NDArray[np.int64] = rows.column(name).cast(pa.int64()).to_numpy()
    return found
