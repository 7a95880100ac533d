"""Which events of a batch count: first occurrences and replays of them, in log order.

1  what the ledger has absorbed is left out, before it may claim anything; unless it was absorbed
   as a copy, holds its identity now, and raw history does not have it
2  what occurred before the dedup memory begins is looked up in raw history
3  the rest claims its identity: first and own go on, duplicates and conflicts do not
4  of those that go on, each distinct value of a unique-count meter claims in the same way
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from dataflows.ledger import LedgerPlan
from metering.batch import EventBatch
from metering.catalog import Catalog
from metering.claims import Claim, ClaimAnswers, Claims, CoverageMoved, DedupStore
from metering.history import History, Owner
from metering.value_identity import value_identity

#: Bits of a payload digest that a claim keeps.
_DIGEST_MASK = 0xFFFFFF

LookUp = Callable[[NDArray[np.int64]], Sequence[Owner | None]]


@dataclass(frozen=True, slots=True)
class Decided:
    """A planned batch and what its events are; positions ascend and index the batch.

    `counted` belongs to `chosen`: False where a unique-count value was there before. The owner
    arrays belong to `others`, which are duplicates, or conflicts where `conflicting` is True.
    """

    plan: LedgerPlan
    chosen: NDArray[np.int64]
    counted: NDArray[np.bool_]
    others: NDArray[np.int64]
    conflicting: NDArray[np.bool_]
    owners: ClaimAnswers


class Deduplicator:
    """The dedup step over a store and raw history; remembers nothing itself."""

    def __init__(
        self, catalog: Catalog, store: DedupStore, history: History, seed: int, *,
        future_tolerance: timedelta = timedelta(minutes=5),
    ) -> None:  # fmt: skip
        """`seed` keys the hash of distinct values, as it does for identities.

        `future_tolerance` is how much before it occurred an event may have arrived.
        """
        self._ahead_us = future_tolerance // timedelta(microseconds=1)
        self._store = store
        self._history = history
        self._seed = seed
        self._dimensions = {
            key: meter.counted_dimension
            for key, meter in catalog.meters.items()
            if meter.counted_dimension is not None
        }

    def decide(self, plan: LedgerPlan) -> Decided:
        """Claim for one batch. Raises what the store and the history raise."""
        batch = plan.batch
        positions = np.arange(len(batch), dtype=np.int64)
        if plan.absorbed is not None:
            positions = positions[~plan.absorbed | self._awaited(batch, plan.absorbed)]
        answers = self.claim(batch, positions)
        goes_on = answers.statuses <= Claim.OWN
        chosen, others = positions[goes_on], positions[~goes_on]
        left = ~goes_on
        return Decided(
            plan, chosen, self._counted(plan, chosen), others,
            answers.statuses[left] == Claim.CONFLICT,
            ClaimAnswers(
                answers.statuses[left], answers.owner_partitions[left],
                answers.owner_offsets[left], answers.owner_indexes[left],
            ),
        )  # fmt: skip

    def claim(self, batch: EventBatch, positions: NDArray[np.int64]) -> ClaimAnswers:
        """Who holds the identities of some events, which claim those that nobody holds.

        `positions` ascend. Raises what the store and the history raise.
        """
        return self._ask(
            batch, positions, batch.identities[positions], digests=batch.digests[positions],
            since_us=batch.occurred_us[positions],
            look_up=lambda old: self._owners(batch, positions[old]),
        )  # fmt: skip

    def _awaited(self, batch: EventBatch, absorbed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Absorbed events that must be accepted all the same: copies wait for their being written.

        Totals that land when the memory is lost absorb copies of what is lost with it. A copy that
        a successor claimed before, and did not write, holds the identity from then on.
        """
        awaited = np.zeros(len(batch), np.bool_)
        if not absorbed.any():
            return awaited
        copies = self._history.copies(
            batch.source, first_offset=batch.first_offset, next_offset=batch.next_offset
        )
        places = zip(batch.offsets.tolist(), batch.indexes.tolist(), strict=True)
        at = np.flatnonzero(absorbed & np.array([place in copies for place in places], np.bool_))
        if len(at):
            at = at[[owner is None for owner in self._owners(batch, at)]]
        if len(at):
            claims = Claims(
                batch.source, batch.identities[at], batch.offsets[at], batch.indexes[at],
                batch.digests[at], int(batch.record_ms.max()),
            )  # fmt: skip
            awaited[at] = self._store.owned(claims)
        return awaited

    def _counted(self, plan: LedgerPlan, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        batch = plan.batch
        counted = np.ones(len(chosen), np.bool_)
        values = batch.counted_values
        if values is None:
            return counted
        counting = np.array([meter in self._dimensions for meter, _ in batch.series], np.bool_)
        at = np.flatnonzero(counting[batch.codes[chosen]])
        # What is not billed must not take a value from what is.
        billable = batch.billable[chosen[at]]
        counted[at[~billable]] = False
        at = at[billable]
        if not len(at):
            return counted
        positions = chosen[at]
        periods = plan.parts.starts[positions].tolist()
        keys = [
            (customer, *batch.series[code], period, values[i])
            for i, customer, code, period in zip(
                positions.tolist(), batch.texts("customer_id", positions),
                batch.codes[positions].tolist(), periods, strict=True,
            )
        ]  # fmt: skip
        words = np.frombuffer(
            b"".join(value_identity(self._seed, key) for key in keys), np.uint64
        ).reshape(-1, 2)
        answers = self._ask(
            batch, positions, words, digests=np.zeros(len(keys), np.uint32),
            since_us=np.array(periods, np.int64) * 1_000_000,
            look_up=lambda old: self._value_owners([keys[n] for n in old.tolist()]),
        )  # fmt: skip
        counted[at] = answers.statuses <= Claim.OWN
        return counted

    def _ask(
        self, batch: EventBatch, positions: NDArray[np.int64], identities: NDArray[np.uint64],
        *, digests: NDArray[np.uint32], since_us: NDArray[np.int64], look_up: LookUp,
    ) -> ClaimAnswers:  # fmt: skip
        """`since_us`: the earliest moment at which each may have been claimed before."""
        while True:
            try:
                return self._ask_once(
                    batch, positions, identities,
                    digests=digests, since_us=since_us, look_up=look_up,
                )  # fmt: skip
            except CoverageMoved:
                continue  # what was forgotten meanwhile is looked up in history

    def _ask_once(
        self, batch: EventBatch, positions: NDArray[np.int64], identities: NDArray[np.uint64],
        *, digests: NDArray[np.uint32], since_us: NDArray[np.int64], look_up: LookUp,
    ) -> ClaimAnswers:  # fmt: skip
        offsets, indexes = batch.offsets[positions], batch.indexes[positions]
        answers = ClaimAnswers(
            np.zeros(len(positions), np.uint8),
            np.full(len(positions), batch.source.partition, np.int64),
            offsets.copy(), indexes.copy(),
        )  # fmt: skip
        if not len(positions):
            return answers
        record_ms = int(batch.record_ms.max())
        known = self._known(batch, positions, since_us, record_ms=record_ms, look_up=look_up)
        asking = np.ones(len(positions), np.bool_)
        asking[[at for at, _ in known]] = False
        if asking.any():
            claims = Claims(
                batch.source, identities[asking], offsets[asking], indexes[asking],
                digests[asking], record_ms,
            )  # fmt: skip
            told = self._store.claim(claims)
            answers.statuses[asking] = told.statuses
            answers.owner_partitions[asking] = told.owner_partitions
            answers.owner_offsets[asking] = told.owner_offsets
            answers.owner_indexes[asking] = told.owner_indexes
        for at, owner in known:
            is_same = (owner.digest & _DIGEST_MASK) == (int(digests[at]) & _DIGEST_MASK)
            answers.statuses[at] = Claim.DUPLICATE if is_same else Claim.CONFLICT
            is_near = owner.stream == batch.source.stream
            answers.owner_partitions[at] = owner.partition if is_near else -1
            answers.owner_offsets[at], answers.owner_indexes[at] = owner.offset, owner.index
        return answers

    def _known(
        self, batch: EventBatch, positions: NDArray[np.int64], since_us: NDArray[np.int64], *,
        record_ms: int, look_up: LookUp,
    ) -> list[tuple[int, Owner]]:  # fmt: skip
        """Those that the memory may have forgotten and that another event holds in history."""
        covered_us = self._store.oldest_covered_ms(record_ms) * 1000
        if covered_us <= 0:
            return []
        old = np.flatnonzero(since_us < covered_us + self._ahead_us)
        if not len(old):
            return []
        offsets, indexes = batch.offsets[positions], batch.indexes[positions]
        return [
            (at, owner)
            for at, owner in zip(old.tolist(), look_up(old), strict=True)
            if owner is not None
            and not owner.is_at(batch.source, int(offsets[at]), int(indexes[at]))
        ]

    def _owners(self, batch: EventBatch, positions: NDArray[np.int64]) -> list[Owner | None]:
        identities = [batch.identities[i].tobytes() for i in positions.tolist()]
        found = self._history.owners(
            list(
                zip(
                    batch.texts("customer_id", positions),
                    batch.texts("meter", positions),
                    identities,
                    strict=True,
                )
            )
        )
        return [found.get(identity) for identity in identities]

    def _value_owners(self, keys: list[tuple[str, str, str, int, str]]) -> list[Owner | None]:
        found = self._history.counted_values(keys, self._dimensions)
        return [
            None if (owner := found.get(key)) is None else _without_digest(owner) for key in keys
        ]


def _without_digest(owner: Owner) -> Owner:
    return Owner(owner.stream, owner.partition, owner.offset, owner.index, 0)
