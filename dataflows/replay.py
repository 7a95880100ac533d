"""The steps of the live path over batches from elsewhere, without Kafka: files, the archive.

    RawBatch -> decode -> load -> dedup -> account -> sink, as in `pipeline`

No offset is committed and nothing is sent to the rejected topic: where to resume is what ClickHouse
holds, and whoever replays reads rejections in the summary and in `rejected_events`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dataflows.accounting import Accountant
from dataflows.catalog_watch import rating_of
from dataflows.claim_queue import ClaimQueue
from dataflows.dedup import Decided, Deduplicator
from dataflows.flusher import Flusher
from dataflows.ledger import Ledger
from dataflows.outcome import Outcome
from dataflows.watermark import Watermarks
from dataflows.worker import now_ms, steady_ms
from metering.batch import EventBatch, RawBatch, Source, Tick
from metering.decode import Decoder
from metering.identity import identity_seed
from metering.rejection import Rejection
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_adopt import adopt_memory
from sinks.history import ClickHouseHistory
from sinks.progress import Progress
from sinks.totals_store import ClickHouseTotals
from sinks.usage_sink import UsageSink


@dataclass(slots=True)
class Counts:
    """What became of the rows of one run; `skipped` lie before the row that it resumed at."""

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    suppressed: int = 0
    absorbed: int = 0
    skipped: int = 0

    def add(self, other: "Counts") -> None:
        """Add another run's counts."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Replay:
    """The steps, wired to real servers; used by one thread. Raises what the steps raise."""

    def __init__(
        self, settings: Settings, book: PriceBook, *,
        before_step: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """Connect, and adopt the dedup memory. `before_step` hears of each step of a write."""
        self._settings = settings
        catalog = book.catalog
        self._clients = [connect_clickhouse(settings) for _ in range(5)]
        reads, writes, looks, adopts, beside = self._clients
        self._memory = adopt_memory(settings, adopts, catalog)
        self._sources: set[Source] = set()
        self._progress = Progress(reads)
        self._decoder = Decoder(catalog, settings)
        self._ledger = Ledger(
            catalog, ClickHouseTotals(reads, beside), units_max=settings.ledger_units_max,
            rating=rating_of(book),
        )  # fmt: skip
        seed = identity_seed(settings.identity_key.get_secret_value())
        self._dedup = Deduplicator(
            catalog, self._memory, ClickHouseHistory(looks), seed,
            future_tolerance=settings.future_tolerance,
        )  # fmt: skip
        self._claims = ClaimQueue(
            self._dedup, self._is_current, in_flight_max=settings.claims_in_flight_max
        )
        sink = UsageSink(
            writes, self._memory, _NoCommit(), _NoTopic(), still_ours=self._is_current,
            before_step=before_step,
        )  # fmt: skip
        self._flusher = Flusher(
            self._ledger, sink, steady_ms, rows_max=settings.flush_rows_max,
            wait_ms=self._wait_ms, is_current=self._is_current,
        )  # fmt: skip
        self._accountant = Accountant(
            self._ledger, Watermarks(settings.allowed_lateness), self._flusher,
            is_current=self._is_current, on_outcome=self._count,
        )  # fmt: skip
        self.counts = Counts()

    def begin(self, stream: str, partition: int) -> Source:
        """Take a partition of a stream from whoever had it."""
        source = self._memory.begin(stream, partition)
        self._sources.add(source)
        return source

    def next_offset(self, source: Source) -> int | None:
        """One past what is durable of a partition; None if nothing is."""
        return self._progress.next_offset(source.stream, source.partition)

    def record_loss(self, source: Source, first: int, following: int) -> None:
        """Offsets that are gone, and whose loss was accepted."""
        self._progress.record_loss(source, first, following)

    def decode(self, raw: RawBatch) -> EventBatch:
        """The first step; pure."""
        batch = self._decoder.decode(raw)
        batch.raw = raw
        return batch

    def claim_first(self, firsts: Sequence[tuple[EventBatch, NDArray[np.int64]]]) -> None:
        """Let some events of the batches that come next claim before all others of them.

        Each is a batch and ascending positions in it.
        """
        for batch, positions in firsts:
            self._claims.ask_first(partial(self._dedup.claim, batch, positions))

    def begin_generation(self, record_ms: int) -> None:
        """Settle, then move the dedup memory on to the generation of a record time.

        Years go by in minutes: what is older than two generations is in raw history when it is
        forgotten, and leaves Redis.
        """
        self.settle()
        self._memory.oldest_covered_ms(record_ms)
        self._memory.forget_expired()

    def count(self, batch: EventBatch) -> None:
        """All other steps. The batches of a partition come in the order of its offsets."""
        self._accountant.step(self._claims.step(self._ledger.load(batch)))

    def settle(self) -> None:
        """Write everything; all that was counted is durable when this returns."""
        self._accountant.step(self._claims.step(Tick(now_ms(), last=True)))
        self._memory.all_written()

    def close(self) -> None:
        """Drop everything; what is not durable is read again by the next run."""
        self._claims.close()
        self._ledger.close()
        self._flusher.close()
        self._memory.close()
        for client in self._clients:
            client.close()

    def _is_current(self, source: Source) -> bool:
        return source in self._sources

    def _wait_ms(self) -> int:
        return int(self._settings.flush_wait_behind.total_seconds() * 1000)

    def _count(self, decided: Decided, outcome: Outcome) -> None:
        batch = decided.plan.batch
        duplicates = 0 if outcome.duplicates is None else outcome.duplicates.num_rows
        self.counts.add(
            Counts(
                outcome.accepted, duplicates, outcome.conflicts, len(batch.rejections),
                len(batch.suppressions),
                len(batch) - outcome.accepted - duplicates - outcome.conflicts,
            )
        )  # fmt: skip


class _NoCommit:
    def commit(self, positions: dict[Source, int]) -> None:
        del positions


class _NoTopic:
    def send(self, rejected: list[tuple[Source, Rejection]]) -> None:
        del rejected
