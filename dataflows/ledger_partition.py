"""The ledger of one partition under one assignment: units, and how missing ones are read."""

from collections.abc import Mapping
from typing import Any

from dataflows.ledger_units import Cell, PlainKey, Unit
from metering.batch import Source
from metering.errors import AssignmentLost
from metering.totals import (
    StoredPartition,
    StoredWindow,
    TotalColumns,
    TotalsStore,
    UnitKey,
    WindowKey,
)


class PartitionLedger:
    """Units of one source partition. A newer assignment starts with a new one."""

    def __init__(
        self, source: Source, stored: StoredPartition, aggregations: Mapping[str, str]
    ) -> None:
        """`aggregations` by meter. Nothing is held yet."""
        self.source = source
        self.units: dict[PlainKey, Unit] = {}
        self.dirty: list[tuple[Unit, Cell]] = []
        self.crowded: dict[PlainKey, Unit] = {}
        #: Start of the newest window that some unit may lack though it is stored.
        self.lacking_until = -1
        self.absorbed_offset = stored.absorbed_offset
        self.applied_offset = -1  # the last one that was folded in here
        #: Units of periods that begin after this moment cannot be stored.
        self._stored_until = stored.newest_window
        self._aggregations = aggregations

    def hold(
        self, keys: list[PlainKey], windows: list[int], store: TotalsStore, *,
        oldest: int, flush: int,
    ) -> list[Unit]:  # fmt: skip
        """The units of `keys`, with the windows of theirs that are stored but not held.

        `oldest` is the least of `windows`. A window that is not stored is begun when its first
        event is applied. New cells are pinned until `flush` is durable. Raises `DependencyDown`.
        """
        units = list(map(self.units.get, keys))
        if oldest <= self.lacking_until:
            odd = [
                i
                for i, (unit, window) in enumerate(zip(units, windows, strict=True))
                if unit is None
                or (unit.cell.window != window and (not unit.others or window not in unit.others))
            ]
        else:
            odd = [i for i, unit in enumerate(units) if unit is None] if None in units else []
        if odd:
            wanted = [(keys[i], windows[i]) for i in odd]
            created = self._created(wanted, store, flush)
            self._read_windows(wanted, created, store, flush)
            self.units.update(created)
            for i in odd:
                units[i] = self.units[keys[i]]
        return units  # type: ignore[return-value]

    def cut(self, number: int) -> TotalColumns:
        """The changed windows; they are pinned until cut `number` is durable."""
        dirty, self.dirty = self.dirty, []
        rows = TotalColumns()
        cells = [cell for _, cell in dirty]
        keys = [unit.key for unit, _ in dirty]
        rows.customers = [key[0] for key in keys]
        rows.meters = [key[1] for key in keys]
        rows.groups = [key[2] for key in keys]
        rows.aggregations = [unit.aggregation for unit, _ in dirty]
        rows.window_starts = [cell.window for cell in cells]
        rows.units = [cell.quantity for cell in cells]
        rows.events = [cell.events for cell in cells]
        rows.late_events = [cell.late for cell in cells]
        rows.first_us = [cell.first_us for cell in cells]
        rows.last_us = [cell.last_us for cell in cells]
        rows.last_identities = [cell.last_identity for cell in cells]
        for cell in cells:
            cell.dirty = False
            cell.flush = number
        return rows

    def add_window(self, unit: Unit, window: int, flush: int) -> Cell:
        """Begin an empty window of a unit."""
        cell = unit.add(window, flush)
        if unit.is_crowded:
            self.crowded[unit.key] = unit
        return cell

    def forget_windows(self, durable: int, pinned: set[int]) -> None:
        """Let crowded units forget; those with an id in `pinned` are needed by a batch."""
        for unit in list(self.crowded.values()):
            if id(unit) not in pinned:
                self.lacking_until = max(self.lacking_until, unit.forget_windows(durable))
                if not unit.is_crowded:
                    del self.crowded[unit.key]

    def drop(self, unit: Unit) -> None:
        """Forget a settled unit; from now on it can be stored."""
        del self.units[unit.key]
        self.crowded.pop(unit.key, None)
        self._stored_until = max(self._stored_until, unit.newest)

    def _created(
        self, wanted: list[tuple[PlainKey, int]], store: TotalsStore, flush: int
    ) -> dict[PlainKey, Unit]:
        missing: dict[PlainKey, int] = {}
        for key, window in wanted:
            if key not in self.units:
                missing.setdefault(key, window)
        asked = [UnitKey._make(key) for key in missing if key[3] <= self._stored_until]
        where = self.source.stream, self.source.partition
        found = store.units(*where, asked) if asked else {}
        created = {}
        shared: dict[Any, Any] = {}
        for key, first in missing.items():
            # Texts and numbers that many units have in common are held once.
            meter, group, period, window = (
                shared.setdefault(part, part) for part in (*key[1:], first)
            )
            plain = (key[0], meter, group, period)
            unit = Unit(plain, self._aggregations[key[1]], window, flush)
            stored = found.get(UnitKey._make(key))
            if stored is not None:
                unit.restore(stored)
                # Beyond what the partition had when it was assigned, if its last owner was
                # still writing then.
                self.absorbed_offset = max(self.absorbed_offset, unit.absorbed)
                self.lacking_until = max(self.lacking_until, stored.newest_window)
            created[plain] = unit
        return created

    def _read_windows(
        self, wanted: list[tuple[PlainKey, int]], created: dict[PlainKey, Unit],
        store: TotalsStore, flush: int,
    ) -> None:  # fmt: skip
        asked: dict[WindowKey, Unit] = {}
        for key, window in wanted:
            unit = created.get(key) or self.units[key]
            is_held = key not in created and unit.find(window) is not None
            if is_held or unit.is_whole or window > unit.newest:
                continue
            asked[WindowKey(*key[:3], window)] = unit
        if not asked:
            return
        found = store.windows(self.source.stream, self.source.partition, list(asked))
        for at, unit in asked.items():
            cell = unit.find(at.window_start) or self.add_window(unit, at.window_start, flush)
            cell.flush = max(cell.flush, flush)
            stored = found.get(at)
            if stored is not None:
                self._require_prefix(unit, stored)
                cell.restore(stored)

    def _require_prefix(self, unit: Unit, stored: StoredWindow) -> None:
        """A window must not hold events that its unit does not, or they count again."""
        known = max(unit.absorbed, self.applied_offset)
        if stored.absorbed_offset > known:
            msg = (
                f"{self.source.stream} partition {self.source.partition}: expected totals up to "
                f"offset {known}, got {stored.absorbed_offset}: its last owner was still "
                "writing; starting again from what is durable"
            )
            raise AssignmentLost(msg)
