"""The ledger: running totals of one worker, a read-through cache over the stored totals.

    load     units of a batch, which of its events are absorbed already; asks for its windows
    apply    fold the first occurrences in, in log order; gives the value before each event
    cut      the windows that changed since the last cut, absolute
    settle   a cut is durable: what it held may be forgotten

Stored totals are the checkpoint. A unit's `absorbed` offset says how far the log is in it; events
up to there are skipped *before* they may claim an identity (claiming first would lose an event
when Redis was lost in between and its duplicate sits on another partition).
"""

from collections import deque
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataflows.ledger_columns import WINDOWS_KEPT, WINDOWS_MOST
from dataflows.ledger_partition import Lacking, PartitionLedger
from dataflows.ledger_table import SeriesTable
from dataflows.parts import Parts
from dataflows.rating import Rated, Rating
from dataflows.totals_ahead import AheadLimits, TotalsAhead
from dataflows.window_reads import WindowReads
from metering.batch import EventBatch, Source
from metering.catalog import Catalog
from metering.totals import TotalColumns, TotalsStore

_WINDOWS_OF_A_UNIT = 2


@dataclass(slots=True)
class LedgerPlan:
    """A batch with its units: `units[i]` is a number in `part`, -1 where event i is not billable.

    `absorbed` is a mask, or None when no event of the batch can be absorbed.
    """

    batch: EventBatch
    part: PartitionLedger
    units: NDArray[np.int32]
    windows: NDArray[np.int64]
    parts: Parts
    absorbed: NDArray[np.bool_] | None
    lacks: Lacking | None


class Applied(NamedTuple):
    """What folding events in gave: the value of each one's unit before it, and its charge.

    Values are n x 4 words, whole 10^-12 units; 0 where the event is not billable.
    """

    before: NDArray[np.uint64]
    rated: Rated | None


class Ledger:
    """Totals of every partition that this worker reads. Used by one thread."""

    def __init__(
        self, catalog: Catalog, store: TotalsStore, *, units_max: int, rating: Rating | None = None,
        windows_max: int | None = None, executor: Executor | None = None,
    ) -> None:  # fmt: skip
        """`units_max` bounds how many units are held; more are forgotten and read again.

        With more than `windows_max` windows (default: twice as many) units keep but their newest
        few. Without `rating` nothing is charged. `executor` reads windows, one query at a time; a
        thread by default.
        """
        #: When to read ahead, and how much; tests set lower ones before the first batch.
        self.ahead_limits = AheadLimits()
        self._window_reads = WindowReads(store, executor)
        self._rating = rating
        self._store = store
        self._units_max = units_max
        self._windows_max = _WINDOWS_OF_A_UNIT * units_max if windows_max is None else windows_max
        self._series = SeriesTable({key: str(m.aggregation) for key, m in catalog.meters.items()})
        self._partitions: dict[tuple[str, int], PartitionLedger] = {}
        self._in_flight: deque[LedgerPlan] = deque()
        self._flush = 1
        self._durable = 0

    def load(self, batch: EventBatch) -> LedgerPlan:
        """Hold every unit of the batch; reads what is missing, ahead or in one query.

        What is missing of its windows is asked for, and taken in by `apply`. Raises
        `DependencyDown` when the store does not answer; the ledger is of no use then.
        """
        part = self._partition(batch.source)
        part.ahead.room = self.ahead_limits.rows_max - self.rows_ahead
        units, windows, parts, lacks = part.hold(
            batch, reads=self._window_reads, flush=self._flush + 1
        )
        if not batch.billable.all():
            units[~batch.billable] = -1
        absorbed = None
        if batch.first_offset <= part.absorbed_offset:
            known = np.append(part.table.units["absorbed"][: len(part.table)], -1)
            absorbed = known[units] >= batch.offsets
        plan = LedgerPlan(batch, part, units, windows, parts, absorbed, lacks)
        self._in_flight.append(plan)
        return plan

    def apply(
        self, plan: LedgerPlan, chosen: NDArray[np.int64], *, late: NDArray[np.bool_],
        counted: NDArray[np.bool_],
    ) -> Applied:  # fmt: skip
        """Fold in the events at positions `chosen` (ascending); `late` and `counted` are theirs.

        Plans are applied in the order in which they were loaded. Raises `DependencyDown` when the
        windows cannot be read, and `AssignmentLost` when they are ahead of the ledger; it is of no
        use then.
        """
        self.skip(plan)
        batch, part = plan.batch, plan.part
        if plan.lacks is not None:
            part.take_windows(plan.lacks, flush=self._flush)
        part.applied_offset = batch.next_offset - 1
        folded = part.table.fold(
            batch, chosen, at=(plan.units, plan.windows), late=late, counted=counted,
            flush=self._flush,
        )  # fmt: skip
        part.fullest = max(part.fullest, folded.fullest)
        return Applied(folded.before, part.rate(plan.units[chosen], folded))

    def skip(self, plan: LedgerPlan) -> None:
        """The plan leaves, applied or (its partition was handed over) not."""
        assert next(iter(self._in_flight), None) is plan, "plans leave as loaded"
        self._in_flight.popleft()

    def cut(self) -> tuple[int, dict[Source, TotalColumns]]:
        """What changed per partition, and the number of this cut; `settle` it once durable."""
        number = self._flush
        self._flush += 1
        parts = self._partitions.values()
        cards = np.zeros(1, np.uint64) if self._rating is None else self._rating.numbers
        return number, {part.source: part.table.cut(number, cards) for part in parts}

    def take_new_prices(self) -> tuple[pa.Table | None, pa.Table | None]:
        """Rows of `rate_cards` and `billing_periods` that totals since the last cut may name."""
        return (None, None) if self._rating is None else self._rating.take_new()

    def settle(self, number: int) -> None:
        """Cut `number` and all before it are durable; forget old windows, units if too many."""
        self._durable = number
        most = WINDOWS_KEPT if self.window_count > self._windows_max else WINDOWS_MOST
        for part in self._partitions.values():
            if part.fullest > most + 1:
                part.forget_windows(number, part.pinned(self._on_their_way(part)), most=most)
        if self.unit_count > self._units_max:
            self._forget_units()

    def forget(self, stream: str, partition: int) -> None:
        """The partition was taken away: all that was learned of it is void."""
        self._partitions.pop((stream, partition), None)

    def close(self) -> None:
        """Wait for the query under way; nothing can be loaded any more."""
        self._window_reads.close()

    @property
    def changed(self) -> int:
        """Windows that the next cut will hold."""
        return sum(part.table.changed for part in self._partitions.values())

    @property
    def window_count(self) -> int:
        """Windows held."""
        return sum(part.table.windows for part in self._partitions.values())

    @property
    def unit_count(self) -> int:
        """Units held."""
        return sum(len(part.table) for part in self._partitions.values())

    @property
    def rows_ahead(self) -> int:
        """Rows of stored totals that were read ahead and are held."""
        return sum(part.ahead.rows for part in self._partitions.values())

    def _partition(self, source: Source) -> PartitionLedger:
        key = (source.stream, source.partition)
        part = self._partitions.get(key)
        if part is None or part.source != source:
            stored = self._store.partition(*key)
            ahead = TotalsAhead(source, stored, self._store, keys_min=self.ahead_limits.keys_min)
            part = PartitionLedger(
                source, stored, series=self._series, ahead=ahead, rating=self._rating
            )
            self._partitions[key] = part
        return part

    def _on_their_way(self, part: PartitionLedger) -> list[NDArray[np.int32]]:
        plans = [plan for plan in self._in_flight if plan.part is part]
        asked = [plan.lacks.units for plan in plans if plan.lacks is not None]
        return [plan.units for plan in plans] + asked

    def _forget_units(self) -> None:
        """Those that were not touched for longest, a quarter of what may be held."""
        parts = list(self._partitions.values())
        settled = [
            part.table.settled(self._durable, part.pinned(self._on_their_way(part)))
            for part in parts
        ]
        touched = [part.table.units["touched"][: len(part.table)] for part in parts]
        ages = np.sort(np.concatenate([t[s] for t, s in zip(touched, settled, strict=True)]))
        excess = min(self.unit_count - self._units_max * 3 // 4, len(ages))
        if not excess:
            return
        oldest = ages[excess - 1]
        for part, can_go, at in zip(parts, settled, touched, strict=True):
            numbers = part.keep(~(can_go & (at <= oldest)))
            for units in self._on_their_way(part):
                units[:] = numbers[units]
