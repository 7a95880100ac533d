"""Bugs to plant: each breaks one rule that keeps the ledger exact, and has to turn runs red."""

from dataclasses import replace
from typing import Any

import numpy as np

from dataflows.dedup import Decided, Deduplicator
from dataflows.ledger import Ledger, LedgerPlan
from dataflows.ledger_columns import WINDOWS_KEPT
from dataflows.ledger_partition import PartitionLedger
from dataflows.totals_ahead import AheadLimits, TotalsAhead
from metering.batch import EventBatch, Source
from metering.claims import Claim, ClaimAnswers, Claims
from metering.flush import Flush
from metering.totals import PlacedKey, StoredUnit, StoredWindow, TotalColumns, UnitKey, WindowKey
from simulator.clickhouse_model import SimSink
from simulator.clickhouse_reads import SimReads
from simulator.redis_model import Owner, SimDedupStore
from simulator.worker_model import Parts
from sinks import rows


class MarksWithoutOwner(SimDedupStore):
    """Remembers that somebody came, not who: a replay looks like a duplicate."""

    def claim(self, claims: Claims) -> ClaimAnswers:
        answers = super().claim(claims)
        answers.statuses[answers.statuses == Claim.OWN] = Claim.DUPLICATE
        return answers


class HasNoFence(SimDedupStore):
    """Claims under whatever marker, generation and run of the server are in force."""

    _is_claiming = False

    def claim(self, claims: Claims) -> ClaimAnswers:
        self._is_claiming = True
        try:
            return super().claim(claims)
        finally:
            self._is_claiming = False

    def _claim(
        self, shard: int, name: str, generation: int, window: int,
        claims: list[tuple[bytes, Owner]],
    ) -> Any:  # fmt: skip
        return self.server.claim(shard, None, name, generation, window, claims)

    def _is_same_run(self) -> bool:
        return self._is_claiming or super()._is_same_run()


class KeepsWorkOfLostMemory(SimDedupStore):
    """What is in flight is still written after the memory was lost."""

    def stale(self, sources: list[Source]) -> list[Source]:
        held = self._ask(lambda: dict(self.server.shards[0].state))
        if held.get("marker") != self.marker:
            return []
        return [s for s in sources if held.get(f"gen:{s.stream}:{s.partition}") != s.generation]

    def _is_same_run(self) -> bool:
        return True


class KeepsOldClaims(SimDedupStore):
    """Goes on when its first claims may be forgotten."""

    def _remember(self, newest: int) -> None:
        del newest


class LooksUpTooEarly(SimDedupStore):
    """History is asked before the generation moves on, for what was forgotten until then."""

    def oldest_covered_ms(self, record_ms: int) -> int:
        del record_ms
        return super().oldest_covered_ms(self.newest * self.window_ms)


class ClaimsWhatIsAbsorbed(Deduplicator):
    """Asks for every event and leaves out what is absorbed afterwards."""

    def decide(self, plan: LedgerPlan) -> Decided:
        absorbed = plan.absorbed
        found = super().decide(replace(plan, absorbed=None))
        if absorbed is None:
            return replace(found, plan=plan)
        fresh, others = ~absorbed[found.chosen], ~absorbed[found.others]
        owners = found.owners
        return Decided(
            plan, found.chosen[fresh], found.counted[fresh], found.others[others],
            found.conflicting[others],
            ClaimAnswers(
                owners.statuses[others], owners.owner_partitions[others],
                owners.owner_offsets[others], owners.owner_indexes[others],
            ),
        )  # fmt: skip


class CommitsFirst(SimSink):
    """Records how far it is durable, and commits, before it writes."""

    def write(self, flush: Flush) -> None:
        flush = self._fenced(flush, 3)
        self._insert("watermarks", rows.watermark_rows(flush))
        flush = self._fenced(flush, 4)
        self._committer.commit({part.source: part.next_offset for part in flush.parts})
        flush = self._fenced(flush, 1)
        self._raw(flush)
        flush = self._fenced(flush, 2)
        self._insert("usage_totals", rows.total_rows(flush))


class DropsRowsAhead(SimSink):
    """What is to go ahead of its totals is passed over."""

    def write_ahead(self, flush: Flush) -> None:
        self._fenced(flush, 1)


class WritesTotalsFirst(SimSink):
    """Totals before raw: they may hold an event that raw does not."""

    def write(self, flush: Flush) -> None:
        flush = self._fenced(flush, 2)
        self._insert("usage_totals", rows.total_rows(flush))
        flush = self._fenced(flush, 1)
        self._raw(flush)
        flush = self._fenced(flush, 3)
        self._insert("watermarks", rows.watermark_rows(flush))
        flush = self._fenced(flush, 4)
        self._committer.commit({part.source: part.next_offset for part in flush.parts})


class _Recorded:
    """A store of totals that remembers what it said of each window."""

    def __init__(self, store: SimReads) -> None:
        self._store = store
        self.said: dict[PlacedKey, StoredWindow] = {}
        self.partition, self.units = store.partition, store.units

    def folds(
        self, _stream: str, _partition: int, *, since: int, recent: int, rows_max: int
    ) -> None:
        """Too much: all windows are asked for."""
        del since, recent, rows_max

    def windows(self, stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        found = self._store.windows(stream, keys)
        self.said.update(found)
        return found


class AddsToTotals(Ledger):
    """Writes what was added since the last cut, for a table that sums."""

    def __init__(self, catalog: Any, store: Any, **options: Any) -> None:
        self._recorded = _Recorded(store)
        super().__init__(catalog, self._recorded, **options)
        self._sent: dict[tuple[Source, WindowKey], tuple[int, int, int]] = {}

    def cut(self) -> tuple[int, dict[Source, TotalColumns]]:
        number, found = super().cut()
        for source, columns in found.items():
            for at in range(len(columns)):
                self._subtract(source, columns, at)
        return number, found

    def _subtract(self, source: Source, columns: TotalColumns, at: int) -> None:
        customer, meter, group = (
            texts[at].as_py() for texts in (columns.customers, columns.meters, columns.groups)
        )
        if meter in ("m_max", "m_latest"):
            return
        key = WindowKey(customer, meter, group, int(columns.window_starts[at]))
        units = int.from_bytes(columns.quantities[at].tobytes(), "little", signed=True)
        now = (units, int(columns.events[at]), int(columns.late_events[at]))
        said = self._recorded.said.get(PlacedKey(source.partition, key))
        stored = (said.units, said.events, said.late_events) if said is not None else (0, 0, 0)
        before = self._sent.get((source, key), stored)
        self._sent[(source, key)] = now
        units, columns.events[at], columns.late_events[at] = (
            new - old for new, old in zip(now, before, strict=True)
        )
        columns.quantities[at] = np.frombuffer(units.to_bytes(32, "little", signed=True), np.uint64)


class ForgetsWindowsInUse(Ledger):
    """Forgets old windows although a batch on its way needs them."""

    def load(self, batch: EventBatch) -> LedgerPlan:
        plan = super().load(batch)
        plan.part.forget_windows(self._durable, plan.part.pinned([]), most=WINDOWS_KEPT)
        return plan

    def apply(self, plan: LedgerPlan, chosen: Any, *, late: Any, counted: Any) -> Any:
        before = super().apply(plan, chosen, late=late, counted=counted)
        plan.part.forget_windows(self._durable, plan.part.pinned([]), most=WINDOWS_KEPT)
        return before


class TrustsFirstRead(Ledger):
    """Reads how far a partition is absorbed once, and never looks again."""

    def load(self, batch: EventBatch) -> LedgerPlan:
        part = self._partition(batch.source)
        known = self.__dict__.setdefault("_known", {})
        first = known.setdefault(batch.source, part.absorbed_offset)
        plan = super().load(batch)
        if batch.first_offset > first:
            plan.absorbed = None
        return plan


class TrustsWindowsAhead(Ledger):
    """Takes a window as it is stored, even if it holds more of the log than its unit.

    Nothing is read ahead: both would be of one moment.
    """

    def _partition(self, source: Source) -> PartitionLedger:
        self.ahead_limits = AheadLimits(rows_max=0)
        part = super()._partition(source)
        part.__class__ = _Unchecked
        return part


class _Unchecked(PartitionLedger):
    def _require_prefix(self, number: int, stored: StoredWindow) -> None:
        del number, stored


class TakesBegunForStored(Ledger):
    """Keeps what was begun of a new unit's window, and never adds what is stored of it."""

    is_new = False

    def load(self, batch: EventBatch) -> LedgerPlan:
        plan = super().load(batch)
        if plan.lacks is not None:
            plan.lacks = plan.lacks._replace(new=[self.is_new] * len(plan.lacks.new))
        return plan


class GoesBackToStored(TakesBegunForStored):
    """Puts what was read of a window in the place of what went on in it since."""

    is_new = True


class KeepsForgottenUnitsAhead(Ledger):
    """Answers from what was read ahead of units that it held, changed and forgot since."""

    def _partition(self, source: Source) -> PartitionLedger:
        part = super()._partition(source)
        part.ahead.__class__ = _ForgetsNoUnits
        return part


class _ForgetsNoUnits(TotalsAhead):
    def forget_units(self, newest: int) -> None:
        del newest


class KeepsForgottenWindowsAhead(Ledger):
    """The same of windows."""

    def _partition(self, source: Source) -> PartitionLedger:
        part = super()._partition(source)
        part.ahead.__class__ = _ForgetsNoWindows
        return part


class _ForgetsNoWindows(TotalsAhead):
    def forget_windows(self, newest: int) -> None:
        del newest


class TakesItToTheNextAssignment(Ledger):
    """Answers from what an earlier assignment of the partition read ahead."""

    def _partition(self, source: Source) -> PartitionLedger:
        part = super()._partition(source)
        known = self.__dict__.setdefault("_known", {})
        part.ahead = known.setdefault(source.partition, part.ahead)
        return part


class ReadsUnitsLaterThanWindows(Ledger):
    """Answers windows from what was read ahead, and reads their units anew."""

    def _partition(self, source: Source) -> PartitionLedger:
        part = super()._partition(source)
        part.ahead.__class__ = _ReadsUnitsAnew
        return part


class _ReadsUnitsAnew(TotalsAhead):
    def units(self, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        super().units(keys)
        return self._store.units(self._source.stream, self._source.partition, keys)


#: By the rule that is broken; the first seven are the ones that `DESIGN.md` names.
PLANTED: dict[str, Parts] = {
    "mark_without_owner": Parts(store=MarksWithoutOwner),
    "additive_upsert": Parts(ledger=AddsToTotals, totals_are_added=True),
    "commit_before_write": Parts(sink=CommitsFirst),
    "torn_totals": Parts(totals_are_torn=True),
    "claim_before_absorbed": Parts(deduplicator=ClaimsWhatIsAbsorbed),
    "no_fence_on_claims": Parts(store=HasNoFence),
    "in_flight_kept": Parts(store=KeepsWorkOfLostMemory),
    "rows_ahead_are_dropped": Parts(sink=DropsRowsAhead),
    "totals_before_raw": Parts(sink=WritesTotalsFirst),
    "old_claims_kept": Parts(store=KeepsOldClaims),
    "history_asked_too_early": Parts(store=LooksUpTooEarly),
    "windows_forgotten_in_use": Parts(ledger=ForgetsWindowsInUse),
    "absorbed_read_once": Parts(ledger=TrustsFirstRead),
    "windows_ahead_of_unit": Parts(ledger=TrustsWindowsAhead),
    "begun_taken_for_stored": Parts(ledger=TakesBegunForStored),
    "back_to_stored": Parts(ledger=GoesBackToStored),
    "ahead_of_forgotten_units": Parts(ledger=KeepsForgottenUnitsAhead),
    "ahead_of_forgotten_windows": Parts(ledger=KeepsForgottenWindowsAhead),
    "ahead_of_assignment": Parts(ledger=TakesItToTheNextAssignment),
    "units_after_windows": Parts(ledger=ReadsUnitsLaterThanWindows),
}
