"""The units of work that flow through the dataflow: a micro-batch of one partition, as columns.

`RawBatch` is what the source read, `EventBatch` what the decoder made of it. They are different
types on purpose: nothing after the decoder ever sees an unvalidated event.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.rejection import Rejection, Suppression

#: Quantities are whole numbers of 10^-12 units, so that sums are exact.
QUANTITY_SCALE = 12
#: Charges are whole numbers of 10^-24 of the currency's unit: a price times a quantity.
CHARGE_SCALE = 24

#: Columns of `EventBatch.columns`, named and typed as in the table `usage_events`.
EVENT_SCHEMA = pa.schema(
    [
        ("identity", pa.binary(16)),
        ("customer_id", pa.string()),
        ("meter", pa.string()),
        ("group", pa.string()),
        ("id", pa.string()),
        ("subject", pa.string()),
        ("quantity", pa.decimal128(38, QUANTITY_SCALE)),
        ("occurred_at", pa.timestamp("us", tz="UTC")),
        ("dimensions", pa.string()),
        ("source", pa.string()),
        ("batch_id", pa.string()),
        ("schema_version", pa.string()),
        ("offset", pa.uint64()),
        ("index", pa.uint16()),
        ("record_time", pa.timestamp("ms", tz="UTC")),
        ("digest", pa.uint32()),
        ("disregarded", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class Source:
    """Whose turn it is to read one partition: the assignment that every batch carries.

    `stream` names the log (the topic with its id, or a backfill), `generation` the assignment of
    the partition; whatever was learned under an older generation is void.
    """

    stream: str
    partition: int
    generation: int


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Messages of one partition, in offset order, as they were read.

    `offsets` ascend but may have gaps (control records, compaction). `record_times_ms` are the
    record timestamps, Unix milliseconds UTC. `next_offset` is one past the last offset covered.
    """

    source: Source
    offsets: Sequence[int]
    record_times_ms: Sequence[int]
    values: list[bytes | None]
    first_offset: int
    next_offset: int

    def offset_column(self) -> NDArray[np.int64]:
        """`offsets` as an array; those without gaps are best given as a range."""
        if isinstance(self.offsets, range):
            return np.arange(self.offsets.start, self.offsets.stop, self.offsets.step)
        return np.array(self.offsets, np.int64)

    def record_ms_column(self) -> NDArray[np.int64]:
        """`record_times_ms` as an array."""
        return np.array(self.record_times_ms, np.int64)


@dataclass(slots=True)
class EventBatch:
    """Validated events of one partition, in coordinate order, as columns of equal length.

    `columns` has `EVENT_SCHEMA`; the arrays beside it repeat what the steps compute with. `series`
    are the distinct (meter, group) pairs, `codes` name each event's. `quantities` are in 10^-12 (n
    x 2 words, the low one first), `identities` 16 bytes per event (n x 2 words). Times are Unix
    microseconds UTC, record times milliseconds.
    `first_offset` is inclusive, `next_offset` exclusive; they cover rejected events as well.
    """

    source: Source
    first_offset: int
    next_offset: int
    columns: pa.RecordBatch
    series: list[tuple[str, str]]
    codes: NDArray[np.int64]
    quantities: NDArray[np.int64]  # shape (n, 2)
    counted_values: list[str] | None  # the counted dimension, where a unique_count meter is in it
    identities: NDArray[np.uint64]  # shape (n, 2)
    digests: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    indexes: NDArray[np.int64]
    occurred_us: NDArray[np.int64]
    record_ms: NDArray[np.int64]
    billable: NDArray[np.bool_]  # False for a disregarded subject: kept, not counted
    rejections: list[Rejection]
    suppressions: list[Suppression]
    raw: RawBatch | None = None  # the messages it came from, for what has to keep its bytes

    def __len__(self) -> int:
        """Number of events (rejected and suppressed ones are not among them)."""
        return len(self.codes)

    def texts(self, column: str, at: NDArray[np.int64]) -> list[str]:
        """Texts of one of `columns`, of the events at positions `at`."""
        found: list[str] = self.columns.column(column).take(pa.array(at)).to_pylist()
        return found


@dataclass(frozen=True, slots=True)
class Tick:
    """An item without events: time for the steps below to do what waits for the clock.

    `now_ms` is Unix milliseconds UTC; `idle` names the partitions that are read to their end,
    each with its next offset. After the `last` one nothing follows: everything is written out.
    """

    now_ms: int
    idle: tuple[tuple[Source, int], ...] = ()
    last: bool = False
