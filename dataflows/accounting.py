"""The last step: fold what was decided into the ledger and hand it to the flusher, as one act.

A cut of the ledger must never hold events of a batch whose rows are not in the same flush, or ahead
of it, so nothing may come between the two.
"""

from collections.abc import Callable, Sequence

from dataflows.dedup import Decided
from dataflows.flusher import Flusher
from dataflows.ledger import Ledger, LedgerPlan
from dataflows.outcome import Outcome, outcome_of
from dataflows.watermark import Watermarks
from metering.batch import Source, Tick


class Accountant:
    """Composes ledger, watermarks and flusher for one worker; called by its only thread."""

    def __init__(
        self, ledger: Ledger, watermarks: Watermarks, flusher: Flusher, *,
        is_current: Callable[[Source], bool], idle_every_ms: int = 1000,
        on_outcome: Callable[[Decided, Outcome], None] = lambda _decided, _outcome: None,
    ) -> None:  # fmt: skip
        """`idle_every_ms`: how often an idle partition's watermark is written."""
        self._ledger = ledger
        self._watermarks = watermarks
        self._flusher = flusher
        self._is_current = is_current
        self._idle_every_ms = idle_every_ms
        self._on_outcome = on_outcome
        self._idle_written_ms: dict[Source, int] = {}

    def step(self, items: Sequence[Decided | LedgerPlan | Tick]) -> None:
        """Account for items in order. Raises what the last write raised."""
        for item in items:
            if isinstance(item, Tick):
                self._tick(item)
            elif isinstance(item, LedgerPlan):
                self._ledger.skip(item)
            else:
                self._account(item)

    def forget(self, stream: str, partition: int) -> None:
        """The partition was taken away: all that was learned of it is void."""
        self._ledger.forget(stream, partition)
        self._watermarks.forget(stream, partition)
        for source in [s for s in self._idle_written_ms if _is_of(s, stream, partition)]:
            del self._idle_written_ms[source]

    def _account(self, decided: Decided) -> None:
        batch = decided.plan.batch
        if not self._is_current(batch.source):
            self._ledger.skip(decided.plan)
            return
        late = self._watermarks.late(batch)[decided.chosen]
        applied = self._ledger.apply(
            decided.plan, decided.chosen, late=late, counted=decided.counted
        )
        outcome = outcome_of(
            decided, late=late, applied=applied, watermark_ms=self._watermarks.observe(batch)
        )
        self._on_outcome(decided, outcome)
        self._flusher.add(outcome)

    def _tick(self, tick: Tick) -> None:
        if tick.last:
            self._flusher.drain()
            return
        for source, offset in tick.idle:
            written = self._idle_written_ms.get(source, 0)
            if self._is_current(source) and tick.now_ms - written >= self._idle_every_ms:
                self._idle_written_ms[source] = tick.now_ms
                self._flusher.advance(
                    source, offset=offset, watermark_ms=self._watermarks.idle(source, tick.now_ms)
                )
        self._flusher.poll()


def _is_of(source: Source, stream: str, partition: int) -> bool:
    return (source.stream, source.partition) == (stream, partition)
