"""Stored totals of a partition, read ahead of what asks for them.

A new assignment holds nothing, and each of its batches meets units that are stored and not held
yet. A query for some of them costs ClickHouse about as much as one for all, so when an assignment
has asked for many, all that its partition holds is read at once, and later questions are answered
from that. This is as good as reading later: nobody but this assignment may write the partition's
rows, and of what it never held it has written none. What its last owner was still writing is
missing here just as it is missing in a unit that was held all along.

    a unit     is answered where it follows from what was read (`stored_folds.tells`)
    a window   is answered if its unit would be: it must never be older than what was told of the
               unit. One that is newer is noticed (`PartitionLedger.take_windows`)
    forgotten  what this worker held and forgot may have changed since it was read: after units
               were forgotten all is dropped, after windows these

All else is asked of the store, as if nothing had been read; everything, where reading ahead fails.
"""

import logging
from typing import NamedTuple

from dataflows.stored_folds import FoldTable, tells, unit_of, window_of
from metering.batch import Source
from metering.errors import DependencyDown
from metering.period import WINDOW_SECONDS, hour_of
from metering.totals import (
    PlacedKey,
    StoredPartition,
    StoredUnit,
    StoredWindow,
    TotalsStore,
    UnitKey,
    WindowKey,
)

log = logging.getLogger("meterline")

#: How long before the newest stored window units may begin that are read ahead: the longest billing
#: period, and the one before it, for late events.
_REACH_S = 62 * 86_400
#: How many hours before the newest one are read one by one, for late events; fewer, if that is too
#: much.
_HOURS = (7, 1)
_LATER_THAN_ANY = 1 << 62


class AheadLimits(NamedTuple):
    """When to read ahead: after how many units were asked for, and how many rows may be held.

    `keys_min` is of an assignment, `rows_max` of a worker (a row takes some 200 bytes).
    """

    keys_min: int = 256
    rows_max: int = 400_000


class TotalsAhead:
    """What one assignment asks of a `TotalsStore`; for one thread."""

    def __init__(
        self, source: Source, stored: StoredPartition, store: TotalsStore, *, keys_min: int
    ) -> None:
        """Nothing is read yet; `stored` is what the partition holds."""
        self._source = source
        self._store = store
        self._keys_min = keys_min
        #: Rows that may be held besides those that are.
        self.room = 0
        self._newest = stored.newest_window
        self._is_too_much = False
        self._folds: FoldTable | None = None
        #: Windows from `_since` on were read; those from `_recent` on one by one, and not
        #: forgotten since.
        self._since = self._recent = _LATER_THAN_ANY
        #: How many units were asked of the store that could have been read ahead, and the hour in
        #: which the earliest of them begins.
        self._missed, self._earliest = 0, _LATER_THAN_ANY

    @property
    def rows(self) -> int:
        """Rows held."""
        return 0 if self._folds is None else len(self._folds)

    def units(self, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        """As `TotalsStore.units`, of this partition."""
        found, left = self._answer(keys)
        if self._should_read(left):
            self._read()
            more, left = self._answer(left)
            found |= more
        if left:
            found |= self._store.units(self._source.stream, self._source.partition, left)
        return found

    def windows(self, asked: list[tuple[UnitKey, int]]) -> dict[PlacedKey, StoredWindow | None]:
        """What is known of windows, each asked with its unit; None of one that is not stored."""
        found: dict[PlacedKey, StoredWindow | None] = {}
        if self._folds is None:
            return found
        recent = [
            (key, window) for key, window in asked if window >= self._recent and self._covers(key)
        ]
        every = self._folds.find([key[:3] for key, _ in recent])
        for (key, window), folds in zip(recent, every, strict=True):
            stored = next((fold for fold in folds if fold.first == window), None)
            if tells(folds, key) and (stored is None or stored.newest >= 0):
                place = PlacedKey(self._source.partition, WindowKey(*key[:3], window))
                found[place] = None if stored is None else window_of(stored)
        return found

    def forget_units(self, newest: int) -> None:
        """Units with windows up to `newest` were forgotten."""
        self._newest = max(self._newest, newest)
        self._forget()

    def forget_windows(self, newest: int) -> None:
        """Windows up to `newest` were forgotten."""
        self._recent = max(self._recent, newest + 1)

    def _forget(self) -> None:
        self._folds = None
        self._since = self._recent = self._earliest = _LATER_THAN_ANY
        self._missed = 0

    def _covers(self, key: UnitKey) -> bool:
        return hour_of(key.start) >= self._since

    def _answer(self, keys: list[UnitKey]) -> tuple[dict[UnitKey, StoredUnit], list[UnitKey]]:
        """What is known of some of `keys`, and the others."""
        found: dict[UnitKey, StoredUnit] = {}
        if self._folds is None:
            return found, keys
        covered = [key for key in keys if self._covers(key)]
        left = [key for key in keys if not self._covers(key)]
        every = self._folds.find([key[:3] for key in covered])
        for key, folds in zip(covered, every, strict=True):
            if not tells(folds, key):
                left.append(key)
            elif (stored := unit_of(folds, key)) is not None:
                found[key] = stored
        return found, left

    def _should_read(self, left: list[UnitKey]) -> bool:
        """Whether these are enough, with those before; of what was read, only earlier ones are."""
        hours = [hour_of(key.start) for key in left if not self._covers(key)]
        hours = [hour for hour in hours if hour >= self._newest - _REACH_S]
        self._missed += len(hours)
        self._earliest = min([self._earliest, *hours])
        return self._missed >= self._keys_min and self.room > 0 and not self._is_too_much

    def _read(self) -> None:
        since = self._earliest
        if self._folds is not None:  # not a third time
            since = hour_of(max(self._newest - _REACH_S, 0))
        self._missed = 0
        for hours in _HOURS:
            recent = max(hour_of(self._newest) - hours * WINDOW_SECONDS, 0)
            try:
                folds = self._store.folds(
                    self._source.stream, self._source.partition, since=since, recent=recent,
                    rows_max=self.room,
                )  # fmt: skip
            except DependencyDown as error:
                # It may be this question that is too much; if not, the next one fails as well.
                log.warning("totals of %s are not read ahead: %s", self._source, error)
                break
            if folds is not None:
                self._folds, self._since, self._recent = FoldTable(folds), since, recent
                return
        self._is_too_much = True
