"""A backfill: files of events through the same steps as the live path, without Kafka.

    rows     -> RawBatch   the row number is the offset, partition 0 of a stream of its own
             -> decode -> load -> dedup -> account -> sink, as in `pipeline`

The stream is `backfill:` and a name: the digest of the file's content, or one that was given. So
the same file again is the same stream, resumes where it is durable, and changes nothing. Every row
has the same record time, the moment when the stream was first registered: a repeat decides alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from dataflows.accounting import Accountant
from dataflows.backfill_csv import CsvFile
from dataflows.backfill_ndjson import NdjsonFile
from dataflows.backfill_parquet import ParquetFile
from dataflows.backfill_rows import FileUnfit, RowChunk, RowFile, content_digest
from dataflows.catalog_watch import rating_of
from dataflows.claim_queue import ClaimQueue
from dataflows.dedup import Decided, Deduplicator
from dataflows.flusher import Flusher
from dataflows.ledger import Ledger
from dataflows.outcome import Outcome
from dataflows.watermark import Watermarks
from dataflows.worker import now_ms
from metering.batch import RawBatch, Source, Tick
from metering.decode import Decoder
from metering.errors import PermanentError
from metering.identity import identity_seed
from metering.rejection import Rejection
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_adopt import adopt_memory
from sinks.history import ClickHouseHistory
from sinks.progress import Progress, StreamRecord
from sinks.totals_store import ClickHouseTotals
from sinks.usage_sink import UsageSink

PREFIX = "backfill:"
_FORMATS: dict[str, Callable[[Path], RowFile]] = {
    ".ndjson": NdjsonFile, ".jsonl": NdjsonFile, ".json": NdjsonFile, ".csv": CsvFile,
    ".parquet": ParquetFile,
}  # fmt: skip


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


def open_rows(path: Path) -> RowFile:
    """Open a file by the ending of its name. Raises `FileUnfit`."""
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        msg = f"{path}: expected a name that ends in {', '.join(_FORMATS)}, got {path.suffix!r}"
        raise FileUnfit(msg)
    return kind(path)


def register_backfill(progress: Progress, path: Path, *, name: str | None = None) -> StreamRecord:
    """The stream of a file, recorded when it is first seen.

    Raises `PermanentError` when the name was given to other content before, `FileUnfit`.
    """
    digest = content_digest(path)
    stream = f"{PREFIX}{name or digest}"
    record = progress.stream(stream)
    if record is None:
        progress.register(stream, "backfill", topic=path.name, topic_id=digest)
        record = progress.stream(stream)
        assert record is not None, "it was just recorded"
    if record.topic_id != digest:
        msg = (
            f"{path}: expected the content that stream {stream} was made from (digest "
            f"{record.topic_id}), got digest {digest}; choose another name for another file"
        )
        raise PermanentError(msg)
    return record


class Backfill:
    """The steps for one stream; used once, by one thread. Raises what the steps raise."""

    def __init__(
        self, settings: Settings, book: PriceBook, *, record: StreamRecord,
        before_step: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """Connect, adopt the dedup memory, and take the stream from whoever had it."""
        self._settings = settings
        catalog = book.catalog
        self._record = record
        self._clients = [connect_clickhouse(settings) for _ in range(4)]
        reads, writes, looks, adopts = self._clients
        self._memory = adopt_memory(settings, adopts, catalog)
        self._source = self._memory.begin(record.stream, 0)
        self._progress = Progress(reads)
        self._decoder = Decoder(catalog, settings)
        self._ledger = Ledger(
            catalog, ClickHouseTotals(reads), units_max=settings.ledger_units_max,
            rating=rating_of(book),
        )  # fmt: skip
        seed = identity_seed(settings.identity_key.get_secret_value())
        dedup = Deduplicator(catalog, self._memory, ClickHouseHistory(looks), seed)
        self._claims = ClaimQueue(
            dedup, self._is_current, in_flight_max=settings.claims_in_flight_max
        )
        sink = UsageSink(
            writes, self._memory, _NoCommit(), _NoTopic(), still_ours=self._is_current,
            before_step=before_step,
        )  # fmt: skip
        self._flusher = Flusher(
            self._ledger, sink, now_ms, rows_max=settings.flush_rows_max,
            wait_ms=self._wait_ms, is_current=self._is_current,
        )  # fmt: skip
        self._accountant = Accountant(
            self._ledger, Watermarks(settings.allowed_lateness), self._flusher,
            is_current=self._is_current, on_outcome=self._count,
        )  # fmt: skip
        self._counts = Counts()

    def run(
        self, rows: RowFile, *, from_start: bool = False,
        say: Callable[[float], None] = lambda _share: None,
    ) -> Counts:  # fmt: skip
        """Count every row that is not durable yet (with `from_start`, every row).

        Returns when all of it is durable. `say` hears which share of the file is read.
        """
        start = 0 if from_start else self._progress.next_offset(self._record.stream, 0) or 0
        self._counts.skipped = following = start
        for chunk in rows.chunks(start, self._settings.batch_events_max):
            self._step(chunk, following)
            following = chunk.numbers[-1] + 1
            say(chunk.share)
        self._accountant.step(self._claims.step(Tick(now_ms(), last=True)))
        return self._counts

    def close(self) -> None:
        """Drop everything; what is not durable is read again by the next run."""
        self._claims.close()
        self._flusher.close()
        self._memory.close()
        for client in self._clients:
            client.close()

    def _step(self, chunk: RowChunk, following: int) -> None:
        times = [self._record.created_ms] * len(chunk.numbers)
        raw = RawBatch(
            self._source, chunk.numbers, times, list(chunk.values), following,
            chunk.numbers[-1] + 1,
        )  # fmt: skip
        batch = self._decoder.decode(raw)
        batch.raw = raw
        self._accountant.step(self._claims.step(self._ledger.load(batch)))

    def _is_current(self, source: Source) -> bool:
        return source == self._source

    def _wait_ms(self) -> int:
        return int(self._settings.flush_wait_behind.total_seconds() * 1000)

    def _count(self, decided: Decided, outcome: Outcome) -> None:
        batch = decided.plan.batch
        duplicates = 0 if outcome.duplicates is None else outcome.duplicates.num_rows
        self._counts.add(
            Counts(
                outcome.accepted, duplicates, outcome.conflicts, len(batch.rejections),
                len(batch.suppressions),
                len(batch) - outcome.accepted - duplicates - outcome.conflicts,
            )
        )  # fmt: skip


class _NoCommit:
    """A backfill resumes at what ClickHouse holds; there is no offset to commit."""

    def commit(self, positions: dict[Source, int]) -> None:
        del positions


class _NoTopic:
    """The one who backfills reads rejections in the summary and in `rejected_events`."""

    def send(self, rejected: list[tuple[Source, Rejection]]) -> None:
        del rejected
