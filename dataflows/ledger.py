"""The ledger: running totals of one worker, a read-through cache over the stored totals.

    load     units and windows of a batch, and which of its events are absorbed already
    apply    fold the first occurrences in, in log order; gives the value before each event
    cut      the rows that changed since the last cut, absolute
    settle   a cut is durable: what it held may be forgotten

Stored totals are the checkpoint. A unit's `absorbed` offset says how far the log is in it; events
up to there are skipped *before* they may claim an identity (claiming first would lose an event
when Redis was lost in between and its duplicate sits on another partition).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflows.ledger_units import NEVER, Cell, Unit
from metering.batch import EventBatch, Source
from metering.catalog import Catalog
from metering.period import period_starts, window_starts
from metering.totals import TotalRow, TotalsStore, UnitKey, WindowKey

_ONE = 10**12


@dataclass(slots=True)
class LedgerPlan:
    """A batch with its units: `units[i]` is None where event i is not billable.

    `absorbed` is a mask, or None when no event of the batch can be absorbed.
    """

    batch: EventBatch
    part: "_Partition"
    units: list[Unit | None]
    windows: NDArray[np.int64]
    absorbed: NDArray[np.bool_] | None


class _Partition:
    """What is known under one assignment of a partition."""

    def __init__(self, source: Source, absorbed_offset: int, newest_window: int) -> None:
        self.source = source
        self.units: dict[UnitKey, Unit] = {}
        self.dirty: list[Cell] = []
        self.absorbed_offset = absorbed_offset
        #: Units of periods that begin after this moment cannot be stored.
        self.stored_until = newest_window


class Ledger:
    """Totals of every partition that this worker reads. Used by one thread."""

    def __init__(self, catalog: Catalog, store: TotalsStore, *, units_max: int) -> None:
        """`units_max` bounds how many units are held; more are forgotten and read again."""
        self._store = store
        self._units_max = units_max
        self._aggregations = {key: str(m.aggregation) for key, m in catalog.meters.items()}
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._in_flight: deque[LedgerPlan] = deque()
        self._flush = 1
        self._durable = 0

    def load(self, batch: EventBatch) -> LedgerPlan:
        """Hold every unit and window of the batch; reads what is missing in one query each.

        Raises `DependencyDown` when the store does not answer; nothing has changed then.
        """
        part = self._partition(batch.source)
        windows = window_starts(batch.occurred_us)
        keys = _unit_keys(batch)
        units: list[Unit | None] = list(map(part.units.get, keys))
        odd = [
            i
            for i, (unit, window) in enumerate(zip(units, windows.tolist(), strict=True))
            if unit is None or unit.cell.window != window
        ]
        if odd:
            self._load_odd(part, keys, windows, odd)
            for i in odd:
                units[i] = part.units[keys[i]]
        if not batch.billable.all():
            for i in np.flatnonzero(~batch.billable).tolist():
                units[i] = None
        absorbed = None
        if batch.first_offset <= part.absorbed_offset:
            absorbed = np.array(
                [unit is not None and unit.absorbed >= offset
                 for unit, offset in zip(units, batch.offsets.tolist(), strict=True)],
                np.bool_,
            )  # fmt: skip
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
        assert self._in_flight and self._in_flight[0] is plan, "plans are applied as loaded"
        self._in_flight.popleft()
        batch, part = plan.batch, plan.part
        everything = len(chosen) == len(batch)
        positions = chosen.tolist()
        units = plan.units if everything else [plan.units[i] for i in positions]
        quantities = batch.units if everything else [batch.units[i] for i in positions]
        windows = plan.windows[chosen].tolist()
        moments = batch.occurred_us[chosen].tolist()
        before: list[int] = []
        flush, durable, dirty = self._flush, self._durable, part.dirty
        late_flags, counted_flags = late.tolist(), counted.tolist()
        for n, unit in enumerate(units):
            if unit is None:
                before.append(0)
                continue
            before.append(unit.total)
            window = windows[n]
            cell = unit.cell
            if cell.window != window:
                cell = unit.find(window) or unit.add(window, flush=flush, durable=durable)
            if not cell.dirty:
                cell.dirty = True
                dirty.append(cell)
                unit.touched = flush
            moment = moments[n]
            if unit.aggregation == "sum":
                quantity = quantities[n]
                unit.total += quantity
                cell.quantity += quantity
            else:
                _fold(unit, cell, quantities[n], moment, _identity(batch, positions[n]),
                      counted=counted_flags[n])  # fmt: skip
            if cell.events == 0 or moment < cell.first_us:
                cell.first_us = moment
            if moment > cell.last_us:
                cell.last_us = moment
            cell.events += 1
            if late_flags[n]:
                cell.late += 1
        return before

    def skip(self, plan: LedgerPlan) -> None:
        """The plan is not applied after all: its partition was handed over."""
        assert self._in_flight and self._in_flight[0] is plan, "plans leave as loaded"
        self._in_flight.popleft()

    def cut(self) -> tuple[int, dict[Source, list[TotalRow]]]:
        """The changed rows per partition, and the number of this cut; `settle` it once durable."""
        number = self._flush
        rows: dict[Source, list[TotalRow]] = {}
        for part in self._partitions.values():
            rows[part.source] = [
                TotalRow(cell.key(), cell.unit.aggregation, cell.stored()) for cell in part.dirty
            ]
            for cell in part.dirty:
                cell.dirty = False
                cell.flush = number
            part.dirty = []
        self._flush += 1
        return number, rows

    def settle(self, number: int) -> None:
        """Cut `number` and all before it are durable; forget units if there are too many."""
        self._durable = number
        if sum(len(part.units) for part in self._partitions.values()) > self._units_max:
            self._forget_units()

    def forget(self, stream: str, partition: int) -> None:
        """The partition was taken away: all that was learned of it is void."""
        self._partitions.pop((stream, partition), None)

    @property
    def unit_count(self) -> int:
        """Units held."""
        return sum(len(part.units) for part in self._partitions.values())

    def _partition(self, source: Source) -> _Partition:
        key = (source.stream, source.partition)
        part = self._partitions.get(key)
        if part is None or part.source != source:
            stored = self._store.partition(*key)
            part = _Partition(source, stored.absorbed_offset, stored.newest_window)
            self._partitions[key] = part
        return part

    def _load_odd(
        self, part: _Partition, keys: list[UnitKey], windows: NDArray[np.int64], odd: list[int]
    ) -> None:
        where = part.source.stream, part.source.partition
        missing: dict[UnitKey, int] = {}
        for i in odd:
            if keys[i] not in part.units:
                missing.setdefault(keys[i], int(windows[i]))
        asked = [key for key in missing if key.period_start <= part.stored_until]
        found = self._store.units(*where, asked) if asked else {}
        pin = self._flush + 1
        created: dict[UnitKey, Unit] = {}
        for key, first in missing.items():
            unit = Unit(key, self._aggregations[key.meter], first, pin)
            if key in found:
                unit.restore(found[key])
            created[key] = unit
        self._load_windows(part, created, [(keys[i], int(windows[i])) for i in odd])
        part.units.update(created)

    def _load_windows(
        self, part: _Partition, created: dict[UnitKey, Unit], wanted: list[tuple[UnitKey, int]]
    ) -> None:
        asked: dict[WindowKey, Unit] = {}
        for key, window in wanted:
            unit = created.get(key) or part.units[key]
            is_held = unit.find(window) is not None and (key not in created)
            if is_held or window > unit.newest or (key in created and unit.absorbed < 0):
                continue
            asked[WindowKey(*key[:3], window)] = unit
        if not asked:
            return
        found = self._store.windows(part.source.stream, part.source.partition, list(asked))
        for window_key, unit in asked.items():
            window = window_key.window_start
            cell = unit.find(window) or unit.add(
                window, flush=self._flush + 1, durable=self._durable
            )
            cell.flush = max(cell.flush, self._flush + 1)
            if window_key in found:
                cell.restore(found[window_key])

    def _forget_units(self) -> None:
        pinned = {id(unit) for plan in self._in_flight for unit in plan.units if unit is not None}
        settled = [
            (unit.touched, part, unit)
            for part in self._partitions.values()
            for unit in part.units.values()
            if id(unit) not in pinned and unit.is_settled(self._durable)
        ]
        settled.sort(key=lambda entry: entry[0])
        excess = self.unit_count - self._units_max * 3 // 4
        for _, part, unit in settled[:excess]:
            del part.units[unit.key]
            part.stored_until = max(part.stored_until, unit.newest)


def _unit_keys(batch: EventBatch) -> list[UnitKey]:
    periods = period_starts(batch.occurred_us).tolist()
    rows = zip(batch.customers, batch.meters, batch.groups, periods, strict=True)
    return list(map(UnitKey._make, rows))


def _identity(batch: EventBatch, position: int) -> bytes:
    return batch.identities[position].tobytes()


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
