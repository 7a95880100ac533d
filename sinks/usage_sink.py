"""The sink of the live path: four numbered steps, in this order, for every flush.

    1  raw     accepted events, duplicates, rejections, suppressions, gaps: keyed rows; and the
               rejected events to their topic.
               Crash after: totals lack events that raw has. They replay from the committed
               offset, claim as their own, and are written again, equal.
               While catching up rows of a flush take this step ahead of the rest.
    2  totals  one block of absolute values, all or nothing.
               Crash after: the events replay and are skipped as absorbed.
    3  watermarks  how far each partition is durable and complete; a maximum.
               Crash after: as after 2.
    4  commit  the offsets to resume from.
               Crash after: nothing is left to do.

Before each step the assignments and the marker of the dedup memory are asked again: a worker
that was replaced stops here. Before steps 2 and 3 ClickHouse is asked whether it still holds what
this worker wrote (`durable_rows.py`, `rows_ahead.py`). Every row is keyed or a maximum, so a step
that may or may not have happened is simply done again.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.batch import Source
from metering.claims import DedupStore
from metering.errors import AssignmentLost
from metering.flush import Flush, PartitionFlush
from metering.rejection import Rejection
from sinks import rows
from sinks.clickhouse import insert_arrow
from sinks.durable_rows import DurableRows
from sinks.progress import Progress
from sinks.rows_ahead import RowsAhead


class Committer(Protocol):
    """Commits offsets to resume from."""

    def commit(self, positions: dict[Source, int]) -> None:
        """Next offset per partition; a partition that was taken away is passed over."""
        ...


class RejectedTopic(Protocol):
    """Where rejected events are sent for others to read."""

    def send(self, rejected: list[tuple[Source, Rejection]]) -> None:
        """Returns when all are acknowledged. Raises `DependencyDown`."""
        ...


class UsageSink:
    """Writes flushes of one worker, in the order of their numbers, from one thread."""

    def __init__(
        self, client: Client, store: DedupStore, committer: Committer, topic: RejectedTopic, *,
        still_ours: Callable[[Source], bool], before_step: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """`still_ours` tells a partition handed over on purpose from one that was lost.

        `before_step` is called with the number of each step about to be taken; fault tests stop
        the worker there.
        """
        self._client = client
        self._store = store
        self._committer = committer
        self._topic = topic
        self._still_ours = still_ours
        self._before_step = before_step or (lambda _step: None)
        self._durable = DurableRows(Progress(client))
        self._ahead = RowsAhead(client)

    def began(self, source: Source, next_offset: int | None) -> None:
        """An assignment, of which so much is durable: should it become less, nothing is written.

        May be another thread's call.
        """
        self._durable.began(source, next_offset)

    def write_ahead(self, flush: Flush) -> None:
        """The first step alone, for rows of a flush whose totals follow. Raises as `write`."""
        flush = self._fenced(flush, 1)
        self._raw(flush)
        self._ahead.wrote(flush)

    def write(self, flush: Flush) -> None:
        """Take the four steps.

        Raises `DependencyDown`, `AssignmentLost`, `DedupMemoryLost`, `RowsLost`.
        """
        flush = self._fenced(flush, 1)
        self._raw(flush)
        flush = self._fenced(flush, 2)
        self._require_rows(flush)
        self._insert("usage_totals", rows.total_rows(flush))
        flush = self._fenced(flush, 3)
        self._require_rows(flush)
        self._insert("watermarks", rows.watermark_rows(flush))
        self._ahead.settled()
        for part in flush.parts:
            self._durable.wrote(part.source, part.next_offset)
        flush = self._fenced(flush, 4)
        self._committer.commit({part.source: part.next_offset for part in flush.parts})

    def _raw(self, flush: Flush) -> None:
        self._insert("rate_cards", flush.cards)
        self._insert("billing_periods", flush.periods)
        self._insert("usage_events", rows.event_rows(flush))
        self._insert("duplicate_events", rows.duplicate_rows(flush))
        self._insert("rejected_events", rows.rejection_rows(flush))
        self._insert("suppressed_events", rows.suppression_rows(flush))
        self._insert("offset_gaps", rows.gap_rows(flush))
        rejected = [(part.source, found) for part in flush.parts for found in part.rejections]
        if rejected:
            self._topic.send(rejected)

    def _require_rows(self, flush: Flush) -> None:
        self._durable.require([part.source for part in flush.parts])
        self._ahead.require()

    def _insert(self, table: str, found: pa.Table | None) -> None:
        if found is not None:
            insert_arrow(self._client, table, rows.without_blanks(found))

    def _fenced(self, flush: Flush, step: int) -> Flush:
        """The flush without partitions that were handed over; raises for one that was lost."""
        self._before_step(step)
        if not flush.parts:
            return flush
        stale = set(self._store.stale([part.source for part in flush.parts]))
        lost = [source for source in stale if self._still_ours(source)]
        if lost:
            names = ", ".join(f"{source.stream} partition {source.partition}" for source in lost)
            msg = f"another worker reads {names} now; what was in flight is dropped"
            raise AssignmentLost(msg)
        kept = [part for part in flush.parts if _keeps(part, stale)]
        return replace(flush, parts=kept)


def _keeps(part: PartitionFlush, stale: set[Source]) -> bool:
    return part.source not in stale
