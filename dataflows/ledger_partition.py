"""The ledger of one partition under one assignment: its units, and how missing ones are read."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataflows.chains import Chains
from dataflows.ledger_table import Folded, SeriesTable, UnitTable
from dataflows.parts import CustomerParts, Parts
from dataflows.rating import Rated, Rating
from dataflows.totals_ahead import TotalsAhead
from dataflows.window_reads import Asked, WindowReads
from metering.batch import EventBatch, Source
from metering.errors import AssignmentLost
from metering.period import WINDOW_SECONDS, window_starts
from metering.totals import (
    PlacedKey,
    StoredPartition,
    StoredWindow,
    UnitKey,
    WindowKey,
)


class Lacking(NamedTuple):
    """Windows that were asked for a batch, by the numbers of their units; which units were new.

    Also of events that are not billable: a new unit's window is begun by them, and held from then
    on.
    """

    units: NDArray[np.int32]
    windows: list[int]
    new: list[bool]
    asked: Asked


class Held(NamedTuple):
    """The unit of each event, its window and part; and which windows are not held yet."""

    units: NDArray[np.int32]
    windows: NDArray[np.int64]
    parts: Parts
    lacks: Lacking | None


class PartitionLedger:
    """Units of one source partition. A newer assignment starts with a new one."""

    def __init__(
        self, source: Source, stored: StoredPartition, *, series: SeriesTable, ahead: TotalsAhead,
        rating: Rating | None = None,
    ) -> None:  # fmt: skip
        """Nothing is held yet; without `rating` nothing is charged. `ahead` is its own."""
        self.source = source
        self.ahead = ahead
        self.table = UnitTable(series, is_rated=rating is not None)
        self._rating = rating
        self._chains = (
            None
            if rating is None
            else Chains(rating.pricing, ahead.units, hows=series.aggregations)
        )
        self._parts = CustomerParts(None if rating is None else rating.pricing)
        #: Windows of the unit that has most, at most.
        self.fullest = 0
        #: Start of the newest window that some unit may lack though it is stored.
        self.lacking_until = -1
        self.absorbed_offset = stored.absorbed_offset
        self.applied_offset = -1  # the last one that was folded in here
        #: Units of periods that begin after this moment cannot be stored.
        self._stored_until = stored.newest_window
        self._series = series

    def hold(self, batch: EventBatch, *, reads: WindowReads, flush: int) -> Held:
        """The batch's units; windows of theirs that may be stored and are not held are asked for.

        A window that is not stored is begun when its first event is applied. New cells are pinned
        until `flush` is durable. Raises `DependencyDown`; the ledger is of no use then.
        """
        table = self.table
        customers = table.customers(batch.columns.column("customer_id"))
        series = self._series.numbers(batch.series)[batch.codes]
        parts = self._parts.find(batch, customers)
        windows = np.maximum(window_starts(batch.occurred_us), parts.starts)
        found, missing = table.find(customers, series, parts.starts)
        created = len(table)
        if missing:
            table.add(customers, series, parts, windows=windows, found=found, flush=flush)
            if self._rating is not None:
                self._rating.price(table, created, every=self._series.every)
            self._restore(created)
        lacks = None
        if self.lacking_until >= 0:
            rows = table.lacking(found, windows, until=self.lacking_until, created=created)
            if rows:
                wanted = sorted({(int(found[row]), int(windows[row])) for row in rows})
                lacks = Lacking(
                    np.array([number for number, _ in wanted], np.int32),
                    [window for _, window in wanted], [number >= created for number, _ in wanted],
                    self._ask(wanted, reads),
                )  # fmt: skip
        if self._chains is not None:
            self._hold_chains(found)
        return Held(found, windows, parts, lacks)

    def take_windows(self, lacks: Lacking, *, flush: int) -> None:
        """Hold what a batch asked for; waits for it.

        Between asking and this, no other batch can have touched a window of a unit that is new; of
        others, one that is held by now was asked for by an earlier batch, and has gone on since.
        Raises `DependencyDown`, and `AssignmentLost` where a window is ahead of its unit.
        """
        numbers = lacks.units.tolist()
        wanted = zip(numbers, self.table.keys(numbers), lacks.windows, lacks.new, strict=True)
        for number, key, window, is_new in wanted:
            if not is_new and self.table.holds(number, window):
                continue
            stored = lacks.asked.window(*self._placed(key, window))
            if stored is not None:
                self._require_prefix(number, stored)
            self.table.restore_window(number, window, stored=stored, flush=flush)
            self.fullest = max(self.fullest, int(self.table.units["cells"][number]))

    def _ask(self, wanted: list[tuple[int, int]], reads: WindowReads) -> Asked:
        """Have windows, each with the number of its unit, read where they are not known."""
        keys = self.table.keys([number for number, _ in wanted])
        named = list(zip(keys, [window for _, window in wanted], strict=True))
        places = [self._placed(*each) for each in named]
        return reads.ask(self.source.stream, places, known=self.ahead.windows(named))

    def _placed(self, key: UnitKey, window: int) -> PlacedKey:
        return PlacedKey(self.source.partition, WindowKey(*key[:3], window))

    def pinned(self, plans: list[NDArray[np.int32]]) -> NDArray[np.bool_]:
        """Mask of the units that batches on their way need, by the numbers of their units."""
        needed = np.zeros(len(self.table) + 1, np.bool_)
        for found in plans:
            needed[found] = True
        return needed[:-1]

    def forget_windows(self, durable: int, pinned: NDArray[np.bool_], *, most: int) -> None:
        """Let units with more than `most` forget; those that are `pinned` are needed by a batch."""
        newest, self.fullest = self.table.forget_cells(durable, pinned, most=most)
        self.ahead.forget_windows(newest)
        self.lacking_until = max(self.lacking_until, newest)

    def keep(self, kept: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Forget all other units; from now on they can be stored. Gives the new numbers."""
        newest = self.table.units["newest"][: len(self.table)][~kept]
        if len(newest):
            self._stored_until = max(self._stored_until, int(newest.max()))
            self.ahead.forget_units(self._stored_until)
        self._parts.forget()
        numbers = self.table.keep(kept)
        if self._chains is not None:
            every = np.arange(len(self.table), dtype=np.int32)
            self._chains.keep(self._chained(every).tolist(), self.table.keys)
        return numbers

    def rate(self, units: NDArray[np.int32], folded: Folded) -> Rated | None:
        """What events were charged, each the next one of its unit; None without prices."""
        if self._rating is None or self._chains is None:
            return None
        return self._rating.rate(self.table, units, folded=folded, chains=self._chains)

    def _hold_chains(self, units: NDArray[np.int32]) -> None:
        chained = self._chained(units)
        if len(chained):
            assert self._chains is not None
            self._chains.hold(chained, self.table.keys, stored_until=self._stored_until)

    def _chained(self, units: NDArray[np.int32]) -> NDArray[np.int32]:
        assert self._rating is not None
        return units[self._rating.is_chained(self.table, units)]

    def _restore(self, created: int) -> None:
        """Read the units from number `created` on, where they can be stored."""
        table = self.table
        starts = table.units["period"][created : len(table)]
        hours = starts - starts % WINDOW_SECONDS  # see `StoredUnit`
        asked = (np.flatnonzero(hours <= self._stored_until) + created).tolist()
        if not asked:
            return
        numbers = dict(zip(table.keys(asked), asked, strict=True))
        for key, stored in self.ahead.units(list(numbers)).items():
            table.restore_unit(numbers[key], stored)
            # Beyond what the partition had when it was assigned, if its last owner was still
            # writing then.
            self.absorbed_offset = max(self.absorbed_offset, stored.absorbed_offset)
            self.lacking_until = max(self.lacking_until, stored.newest_window)

    def _require_prefix(self, number: int, stored: StoredWindow) -> None:
        """A window must not hold events that its unit does not, or they count again."""
        known = max(int(self.table.units["absorbed"][number]), self.applied_offset)
        if stored.absorbed_offset > known:
            msg = (
                f"{self.source.stream} partition {self.source.partition}: expected totals up to "
                f"offset {known}, got {stored.absorbed_offset}: its last owner was still "
                "writing; starting again from what is durable"
            )
            raise AssignmentLost(msg)
