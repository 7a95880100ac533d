"""What the sink writes in one go: everything between two commits, per partition."""

from dataclasses import dataclass, field

import pyarrow as pa

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


@dataclass(slots=True)
class PartitionFlush:
    """One partition's part of a flush: offsets `first_offset` .. `next_offset` - 1.

    `events` are record batches of `EVENT_SCHEMA` and what the steps added; `duplicates` of
    `DUPLICATE_SCHEMA`; `gaps` are half-open ranges of offsets without a record.
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


@dataclass(slots=True)
class Flush:
    """Parts of distinct partitions, written together; `number` ascends within one worker.

    `cards` and `periods` are rows of `rate_cards` and `billing_periods` that the parts name.
    """

    number: int
    parts: list[PartitionFlush]
    cards: pa.Table | None = None
    periods: pa.Table | None = None
