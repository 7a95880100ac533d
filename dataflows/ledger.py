"""The ledger: running totals of one worker, a read-through cache over the stored totals.

    load     units and windows of a batch, and which of its events are absorbed already
    apply    fold the first occurrences in, in log order; gives the value before each event
    cut      the windows that changed since the last cut, absolute
    settle   a cut is durable: what it held may be forgotten

Stored totals are the checkpoint. A unit's `absorbed` offset says how far the log is in it; events
up to there are skipped *before* they may claim an identity (claiming first would lose an event
when Redis was lost in between and its duplicate sits on another partition).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.ledger_partition import PartitionLedger
from dataflows.ledger_units import NEVER, Cell, Unit
from metering.batch import EventBatch, Source
from metering.catalog import Catalog
from metering.period import period_starts, window_starts
from metering.totals import TotalColumns, TotalsStore

_ONE = 10**12


@dataclass(slots=True)
class LedgerPlan:
    """A batch with its units: `units[i]` is None where event i is not billable.

    `absorbed` is a mask, or None when no event of the batch can be absorbed.
    """

    batch: EventBatch
    part: PartitionLedger
    units: list[Unit | None]
    windows: list[int]
    absorbed: NDArray[np.bool_] | None


class Ledger:
    """Totals of every partition that this worker reads. Used by one thread."""

    def __init__(self, catalog: Catalog, store: TotalsStore, *, units_max: int) -> None:
        """`units_max` bounds how many units are held; more are forgotten and read again."""
        self._store = store
        self._units_max = units_max
        self._aggregations = {key: str(m.aggregation) for key, m in catalog.meters.items()}
        self._partitions: dict[tuple[str, int], PartitionLedger] = {}
        self._in_flight: deque[LedgerPlan] = deque()
        self._flush = 1
        self._durable = 0

    def load(self, batch: EventBatch) -> LedgerPlan:
        """Hold every unit and window of the batch; reads what is missing in one query each.

        Raises `DependencyDown` when the store does not answer; nothing has changed then.
        """
        part = self._partition(batch.source)
        starts = window_starts(batch.occurred_us)
        windows = starts.tolist()
        periods = period_starts(batch.occurred_us).tolist()
        keys = list(zip(batch.customers, batch.meters, batch.groups, periods, strict=True))
        oldest = int(starts.min()) if len(batch) else 0
        held = part.hold(keys, windows, self._store, oldest=oldest, flush=self._flush + 1)
        units: list[Unit | None] = list(held)
        if not batch.billable.all():
            for i in np.flatnonzero(~batch.billable).tolist():
                units[i] = None
        absorbed = None
        if batch.first_offset <= part.absorbed_offset:
            offsets = batch.offsets.tolist()
            pairs = zip(units, offsets, strict=True)
            absorbed = np.array([u is not None and u.absorbed >= at for u, at in pairs], np.bool_)
        plan = LedgerPlan(batch, part, units, windows, absorbed)
        self._in_flight.append(plan)
        return plan

    def apply(
        self, plan: LedgerPlan, chosen: NDArray[np.int64], *, late: NDArray[np.bool_],
        counted: NDArray[np.bool_],
    ) -> list[int]:  # fmt: skip
        """Fold in the events at positions `chosen` (ascending); `late` and `counted` are theirs.

        Returns the period value of each one's unit before it, in whole 10^-12 units (0 where the
        event is not billable). Plans are applied in the order in which they were loaded.
        """
        self.skip(plan)
        batch, part = plan.batch, plan.part
        part.applied_offset = batch.next_offset - 1
        rows: Iterable[tuple[int, Unit | None, int, int, int]] = zip(
            range(len(batch)), plan.units, plan.windows, batch.occurred_us.tolist(), batch.units,
            strict=True,
        )  # fmt: skip
        if len(chosen) != len(batch):
            every = list(rows)
            rows = [every[i] for i in chosen.tolist()]
        left_out = set(chosen[~counted].tolist())
        before: list[int] = []
        flush, dirty = self._flush, part.dirty
        for i, unit, window, moment, quantity in rows:
            if unit is None:
                before.append(0)
                continue
            before.append(unit.total)
            cell = unit.cell
            if cell.window != window:
                cell = unit.find(window) or part.add_window(unit, window, flush)
            if not cell.dirty:
                cell.dirty = True
                dirty.append((unit, cell))
                unit.touched = flush
            if unit.aggregation == "sum":
                unit.total += quantity
                cell.quantity += quantity
            else:
                _fold(unit, cell, quantity, moment, batch.identities[i].tobytes(),
                      counted=i not in left_out)  # fmt: skip
            cell.last_us = max(cell.last_us, moment)
            cell.first_us = min(cell.first_us, moment)
            cell.events += 1
        for i in chosen[late].tolist():
            unit = plan.units[i]
            found = None if unit is None else unit.find(plan.windows[i])
            if found is not None:
                found.late += 1
        return before

    def skip(self, plan: LedgerPlan) -> None:
        """The plan leaves, applied or (its partition was handed over) not."""
        assert next(iter(self._in_flight), None) is plan, "plans leave as loaded"
        self._in_flight.popleft()

    def cut(self) -> tuple[int, dict[Source, TotalColumns]]:
        """What changed per partition, and the number of this cut; `settle` it once durable."""
        number = self._flush
        self._flush += 1
        return number, {part.source: part.cut(number) for part in self._partitions.values()}

    def settle(self, number: int) -> None:
        """Cut `number` and all before it are durable; forget old windows, units if too many."""
        self._durable = number
        parts = self._partitions.values()
        is_full = self.unit_count > self._units_max
        if not is_full and not any(part.crowded for part in parts):
            return
        pinned = {id(unit) for plan in self._in_flight for unit in plan.units if unit is not None}
        for part in parts:
            part.forget_windows(number, pinned)
        if is_full:
            self._forget_units(pinned)

    def forget(self, stream: str, partition: int) -> None:
        """The partition was taken away: all that was learned of it is void."""
        self._partitions.pop((stream, partition), None)

    @property
    def unit_count(self) -> int:
        """Units held."""
        return sum(len(part.units) for part in self._partitions.values())

    def _partition(self, source: Source) -> PartitionLedger:
        key = (source.stream, source.partition)
        part = self._partitions.get(key)
        if part is None or part.source != source:
            part = PartitionLedger(source, self._store.partition(*key), self._aggregations)
            self._partitions[key] = part
        return part

    def _forget_units(self, pinned: set[int]) -> None:
        settled = [
            (unit.touched, part, unit)
            for part in self._partitions.values()
            for unit in part.units.values()
            if id(unit) not in pinned and unit.is_settled(self._durable)
        ]
        settled.sort(key=lambda entry: entry[0])
        excess = self.unit_count - self._units_max * 3 // 4
        for _, part, unit in settled[:excess]:
            part.drop(unit)


def _fold(
    unit: Unit, cell: Cell, quantity: int, moment: int, identity: bytes, *, counted: bool
) -> None:
    """Every aggregation but the sum. `latest` orders by (occurred_at, identity)."""
    match unit.aggregation:
        case "count":
            unit.total += _ONE
            cell.quantity += _ONE
        case "unique_count":
            if counted:
                unit.total += _ONE
                cell.quantity += _ONE
        case "max":
            unit.total = quantity if unit.latest_us == NEVER else max(unit.total, quantity)
            unit.latest_us = max(unit.latest_us, moment)
            cell.quantity = quantity if cell.events == 0 else max(cell.quantity, quantity)
        case "latest":
            if (moment, identity) > (unit.latest_us, unit.latest_identity):
                unit.total, unit.latest_us, unit.latest_identity = quantity, moment, identity
            if (moment, identity) > (cell.last_us, cell.last_identity):
                cell.quantity, cell.last_identity = quantity, identity
