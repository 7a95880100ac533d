"""Stored totals of one partition as they were read at once: folds, found by what they are of.

They lie in Arrow columns, some 200 bytes each; Python objects are made of what is asked for only.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.decimals import units_of
from metering.period import hour_of
from metering.totals import FOLDS, StoredUnit, StoredWindow, UnitKey

_TEXTS = ("customer_id", "meter", "group")
_DECIMALS = [field.name for field in FOLDS if pa.types.is_decimal(field.type)]
_PRECISION = 38
#: Odd, so that each spreads over all 64 bits.
_SPREAD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)

Texts = tuple[str, str, str]


class Fold(NamedTuple):
    """A row of `FOLDS`, with whole 10^-12 units (10^-24 for the charge)."""

    customer_id: str
    meter: str
    group: str
    first: int
    last: int
    newest: int
    absorbed: int
    absorbed_last: int
    sum: int
    max: int
    latest: int
    latest_us: int
    latest_identity: bytes
    events: int
    late_events: int
    first_us: int
    included: int
    overage: int
    charge: int


class FoldTable:
    """Folds of one partition, by (customer, meter, group)."""

    def __init__(self, folds: pa.Table) -> None:
        """Take over a table as `FOLDS` describes it."""
        self._columns = _compact(folds)
        hashes = np.zeros(len(folds), np.uint64)
        for name, spread in zip(_TEXTS, _SPREAD, strict=True):
            texts = self._columns[name]
            hashes += _hashes(texts.dictionary.to_pylist(), spread)[texts.indices.to_numpy()]
        self._order = np.argsort(hashes).astype(np.int32)
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._order)

    def find(self, wanted: Sequence[Texts]) -> list[list[Fold]]:
        """The folds of each (customer, meter, group)."""
        hashes = np.zeros(len(wanted), np.uint64)
        for place, spread in enumerate(_SPREAD):
            hashes += _hashes((texts[place] for texts in wanted), spread)
        low = np.searchsorted(self._hashes, hashes, "left")
        counts = np.searchsorted(self._hashes, hashes, "right") - low
        ends = np.cumsum(counts)
        rows = np.repeat(low - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
        folds = self._take(self._order[rows])
        found = []
        for texts, end, count in zip(wanted, ends.tolist(), counts.tolist(), strict=True):
            # others may have the same hash
            found.append([fold for fold in folds[end - count : end] if fold[:3] == texts])
        return found

    def _take(self, rows: NDArray[np.int32]) -> list[Fold]:
        places = pa.array(rows)
        columns = (
            units_of(column.take(places)) if name in _DECIMALS else column.take(places).to_pylist()
            for name, column in self._columns.items()
        )
        return list(map(Fold, *columns))


def tells(folds: Iterable[Fold], key: UnitKey) -> bool:
    """Whether a unit follows from all folds of its texts: none has windows in it and outside."""
    return all(
        fold.last < key.start
        or fold.first >= key.end
        or (fold.first >= key.start and fold.last < key.end)
        for fold in folds
    )


def unit_of(folds: Iterable[Fold], key: UnitKey) -> StoredUnit | None:
    """A unit that these folds tell, as `TotalsStore.units` does; None if nothing is stored.

    They are of windows from the hour of its start on, or from an earlier one.
    """
    inside = [fold for fold in folds if key.start <= fold.first < key.end]
    # Parts that ended in the hour in which the unit starts: see `StoredUnit`.
    beside = [fold for fold in folds if hour_of(key.start) <= fold.last < key.start]
    if not inside and not beside:
        return None
    absorbed = max(
        [fold.absorbed for fold in inside] + [fold.absorbed_last for fold in beside]
    )  # fmt: skip
    own = [fold for fold in inside if fold.newest >= 0]
    if not own:
        return StoredUnit(absorbed, -1, 0, 0, 0, 0, bytes(16))
    latest = max(own, key=lambda fold: (fold.latest_us, fold.latest_identity))
    return StoredUnit(
        absorbed, max(fold.newest for fold in own), sum(fold.sum for fold in own),
        max(fold.max for fold in own), latest.latest, latest.latest_us, latest.latest_identity,
    )  # fmt: skip


def window_of(fold: Fold) -> StoredWindow:
    """A fold of one window that has events, as `TotalsStore.windows` tells it."""
    return StoredWindow(
        fold.sum, fold.events, fold.late_events, fold.first_us, fold.latest_us,
        fold.latest_identity, fold.absorbed, fold.included, fold.overage, fold.charge,
    )  # fmt: skip


def _compact(folds: pa.Table) -> dict[str, pa.Array]:
    """Columns of one piece each, in the order of `FOLDS`."""
    columns = {}
    for field in FOLDS:
        column = folds.column(field.name).cast(field.type)
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
        if field.name in _TEXTS:
            column = column.dictionary_encode()
        elif field.name in _DECIMALS:
            column = _narrowed(column)
        columns[field.name] = column
    return columns


def _narrowed(column: pa.Array) -> pa.Array:
    """Half as wide, unless a value is too large for that."""
    try:
        return column.cast(pa.decimal128(_PRECISION, column.type.scale))
    except pa.ArrowInvalid:
        return column


def _hashes(texts: Iterable[str], spread: int) -> NDArray[np.uint64]:
    return np.fromiter(map(hash, texts), np.int64).view(np.uint64) * np.uint64(spread)
