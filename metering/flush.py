"""What the sink writes in one go: everything between two commits, per partition."""

from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from metering.batch import Source
from metering.rejection import Rejection, Suppression
from metering.totals import TotalColumns

DUPLICATE_SCHEMA = pa.schema(
    [
        ("offset", pa.uint64()),
        ("index", pa.uint16()),
        ("customer_id", pa.string()),
        ("meter", pa.string()),
        ("id", pa.string()),
        ("identity", pa.binary(16)),
        ("occurred_at", pa.timestamp("us", tz="UTC")),
        ("record_time", pa.timestamp("ms", tz="UTC")),
        ("owner_partition", pa.int32()),
        ("owner_offset", pa.uint64()),
        ("owner_index", pa.uint16()),
    ]
)

#: Columns that tell how late an event came.
TIMES = ["record_time", "occurred_at", "late"]


@dataclass(slots=True)
class PartitionFlush:
    """One partition's part of a flush: offsets `first_offset` .. `next_offset` - 1.

    `events` are record batches of `EVENT_SCHEMA` and what the steps added; `duplicates` of
    `DUPLICATE_SCHEMA`; `gaps` are half-open ranges of offsets without a record. Of rows that went
    ahead (see `dataflows/flusher.py`) there are only the times of events, and the newest record
    time (ms) of all.
    """

    source: Source
    first_offset: int
    next_offset: int
    watermark_ms: int = 0
    events: list[pa.RecordBatch] = field(default_factory=list)
    duplicates: list[pa.RecordBatch] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    suppressions: list[Suppression] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    totals: TotalColumns | None = None
    times_ahead: list[pa.RecordBatch] = field(default_factory=list)
    newest_ahead_ms: int = 0

    def newest_ms(self) -> int:
        """Newest record time (Unix ms) of any row, 0 without one."""
        newest = [self.newest_ahead_ms]
        newest += [_newest_ms(rows) for rows in (*self.events, *self.duplicates)]
        newest += [rejection.record_time_ms for rejection in self.rejections]
        newest += [suppression.record_time_ms for suppression in self.suppressions]
        return max(newest)

    def emptied(self) -> Self:
        """What is left of it once its rows go ahead of its totals."""
        times = [rows.select(TIMES) for rows in self.events]
        return type(self)(
            self.source, self.first_offset, self.next_offset, self.watermark_ms,
            times_ahead=self.times_ahead + times, newest_ahead_ms=self.newest_ms(),
        )  # fmt: skip


@dataclass(slots=True)
class Flush:
    """Parts of distinct partitions, written together.

    `number` ascends within one worker; it is 0 for rows that go ahead.
    `cards` and `periods` are rows of `rate_cards` and `billing_periods` that the parts name.
    """

    number: int
    parts: list[PartitionFlush]
    cards: pa.Table | None = None
    periods: pa.Table | None = None


def _newest_ms(rows: pa.RecordBatch) -> int:
    return pc.max(rows.column("record_time")).cast(pa.int64()).as_py() or 0
