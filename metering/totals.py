"""Totals of usage as they are kept and stored: per source partition, absolute, with a prefix mark.

Windows and periods are named by their start, Unix seconds UTC. Quantities are whole 10^-12 units.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.batch import CHARGE_SCALE, QUANTITY_SCALE


class UnitKey(NamedTuple):
    """What is loaded as one: a (customer, meter, group) in one part of a billing period.

    From `start` (inclusive) to `end` (exclusive).
    """

    customer_id: str
    meter: str
    group: str
    start: int
    end: int


class WindowKey(NamedTuple):
    """One hour of a (customer, meter, group)."""

    customer_id: str
    meter: str
    group: str
    window_start: int


class PlacedKey(NamedTuple):
    """A window of one source partition."""

    partition: int
    key: WindowKey


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """What the store holds of one source partition; -1 where it holds nothing."""

    absorbed_offset: int
    newest_window: int


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit as stored: its windows folded, under every aggregation that needs no more.

    `absorbed_offset` is also of a window that holds the unit's start: where the start was moved
    into an hour, what was stored of that hour before is in there. `newest_window` is -1 if that is
    all there is.
    """

    absorbed_offset: int
    newest_window: int
    sum_units: int
    max_units: int
    latest_units: int
    latest_us: int
    latest_identity: bytes


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """One window's row: the value by the meter's aggregation, and what is known of its events."""

    units: int
    events: int
    late_events: int
    first_us: int
    last_us: int
    last_identity: bytes
    absorbed_offset: int
    included: int = 0
    overage: int = 0
    charge: int = 0


@dataclass(slots=True)
class TotalColumns:
    """Rows to store, as columns of equal length: absolute values of windows of one partition.

    `quantities` are n x 4 words, `last_identities` n x 2, `rated` n x 9 (included, overage and
    charge, three words each) or None where nothing is charged; the rest is one value a row.
    `cards` says what was charged by, 0 for nothing; `parts` and `periods` are starts.
    """

    customers: pa.StringArray
    meters: pa.DictionaryArray
    groups: pa.DictionaryArray
    aggregations: pa.DictionaryArray
    window_starts: NDArray[np.int64]
    quantities: NDArray[np.uint64]
    events: NDArray[np.int64]
    late_events: NDArray[np.int64]
    first_us: NDArray[np.int64]
    last_us: NDArray[np.int64]
    last_identities: NDArray[np.uint64]
    parts: NDArray[np.int64]
    periods: NDArray[np.int64]
    cards: NDArray[np.uint64]
    rated: NDArray[np.uint64] | None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.customers)


#: Stored windows of one partition, folded: those of one (customer, meter, group) that were written
#: as of one part are one row; a recent window is a row of its own. Windows are Unix seconds.
FOLDS = pa.schema(
    [
        ("customer_id", pa.string()), ("meter", pa.string()), ("group", pa.string()),
        # The first and the last window of the row, and the newest that has events, -1 if none has.
        ("first", pa.int64()), ("last", pa.int64()), ("newest", pa.int64()),
        # Absorbed offset of all of them, and of those in the hour that holds the last one.
        ("absorbed", pa.int64()), ("absorbed_last", pa.int64()),
        # Of the windows that have events, as in `StoredUnit`; 0 if none has.
        ("sum", pa.decimal256(76, QUANTITY_SCALE)), ("max", pa.decimal256(76, QUANTITY_SCALE)),
        ("latest", pa.decimal256(76, QUANTITY_SCALE)), ("latest_us", pa.int64()),
        ("latest_identity", pa.binary(16)),
        # The rest means something for a single window only, as in `StoredWindow`.
        ("events", pa.int64()), ("late_events", pa.int64()), ("first_us", pa.int64()),
        ("included", pa.decimal256(76, QUANTITY_SCALE)),
        ("overage", pa.decimal256(76, QUANTITY_SCALE)),
        ("charge", pa.decimal256(76, CHARGE_SCALE)),
    ]
)  # fmt: skip


class TotalsStore(Protocol):
    """Where the ledger reads what it does not hold. Every call may raise `DependencyDown`."""

    def partition(self, stream: str, partition: int) -> StoredPartition:
        """What is stored of one partition; asked once per assignment."""
        ...

    def units(self, stream: str, partition: int, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        """The stored ones among `keys`; asked once per batch, for all that are missing."""
        ...

    def folds(
        self, stream: str, partition: int, *, since: int, recent: int, rows_max: int
    ) -> pa.Table | None:
        """All that a partition holds from the hour `since` on, as `FOLDS`; None if it is too much.

        Windows from the hour `recent` on are rows of their own. There may be `rows_max` rows. What
        is told of one customer was stored at one moment; asked a few times per assignment.
        """
        ...

    def windows(self, stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        """The stored ones among `keys`; called by a thread of its own."""
        ...
