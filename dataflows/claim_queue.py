"""The dedup step as the dataflow runs it: claims under way while the next batch is decoded.

One background thread asks the store, one batch after the other, in order. Decisions leave in the
order in which the batches came; a tick never overtakes a batch.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from dataflows.dedup import Decided, Deduplicator
from dataflows.ledger import LedgerPlan
from metering.batch import Source, Tick
from metering.errors import AssignmentLost


class ClaimQueue:
    """At most `in_flight_max` batches are under way; a further one waits for the oldest."""

    def __init__(
        self, dedup: Deduplicator, is_current: Callable[[Source], bool], *, in_flight_max: int,
        executor: Executor | None = None,
    ) -> None:  # fmt: skip
        """`is_current` tells whether this worker still holds an assignment.

        `executor` asks the store, one batch at a time; a thread by default.
        """
        self._dedup = dedup
        self._is_current = is_current
        self._in_flight_max = in_flight_max
        self._asker = executor or ThreadPoolExecutor(1, thread_name_prefix="claims")
        self._failure: Exception | None = None
        self._under_way: deque[tuple[LedgerPlan | Tick, Future[Decided | None] | None]] = deque()

    def step(self, item: LedgerPlan | Tick) -> list[Decided | LedgerPlan | Tick]:
        """Take one item in; give out, in order, what is decided.

        A batch that was handed over meanwhile comes out as its plan, undecided. Raises what the
        store raises for a batch that this worker still holds.
        """
        if isinstance(item, Tick):
            self._under_way.append((item, None))
            left = 0 if item.last else self._in_flight_max
            return self._out(wait_for=len(self._under_way) - left)
        self._under_way.append((item, self._asker.submit(self._decide, item)))
        return self._out(wait_for=len(self._under_way) - self._in_flight_max)

    def ask_first(self, ask: Callable[[], object]) -> None:
        """Ask the store something else before the batches that come next; they raise its error."""
        self._asker.submit(self._asked, ask)

    def close(self) -> None:
        """Forget what is under way and wait for the call in progress."""
        self._asker.shutdown(wait=True, cancel_futures=True)

    def _out(self, *, wait_for: int) -> list[Decided | LedgerPlan | Tick]:
        found: list[Decided | LedgerPlan | Tick] = []
        while self._under_way:
            item, future = self._under_way[0]
            if future is not None and len(found) >= wait_for and not future.done():
                break
            decided = future.result() if future is not None else None
            self._under_way.popleft()
            found.append(item if decided is None else decided)
        return found

    def _asked(self, ask: Callable[[], object]) -> None:
        if self._failure is None:
            try:
                ask()
            except Exception as error:  # noqa: BLE001 - raised with the next batch
                self._failure = error

    def _decide(self, plan: LedgerPlan) -> Decided | None:
        if self._failure is not None:
            # A later copy of an event must not claim before an earlier one that failed to.
            raise self._failure
        if not self._is_current(plan.batch.source):
            return None
        try:
            return self._dedup.decide(plan)
        except Exception as error:
            if isinstance(error, AssignmentLost) and not self._is_current(plan.batch.source):
                return None
            self._failure = error
            raise
