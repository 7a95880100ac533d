"""A backfill: files of events through the same steps as the live path, without Kafka.

    rows     -> RawBatch   the row number is the offset, partition 0 of a stream of its own
             -> decode -> load -> dedup -> account -> sink, as in `pipeline`

The stream is `backfill:` and a name: the digest of the file's content, or one that was given. So
the same file again is the same stream, resumes where it is durable, and changes nothing. Every row
has the same record time, the moment when the stream was first registered: a repeat decides alike.
"""

from collections.abc import Callable
from pathlib import Path

from dataflows.backfill_archived import ArchivedFile
from dataflows.backfill_csv import CsvFile
from dataflows.backfill_ndjson import NdjsonFile
from dataflows.backfill_parquet import ParquetFile
from dataflows.backfill_rows import FileUnfit, RowChunk, RowFile, content_digest
from dataflows.replay import Counts, Replay
from metering.batch import RawBatch
from metering.errors import PermanentError
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from sinks.progress import Progress, StreamRecord

PREFIX = "backfill:"


def _open_parquet(path: Path) -> RowFile:
    return ArchivedFile(path) if ArchivedFile.is_one(path) else ParquetFile(path)


_FORMATS: dict[str, Callable[[Path], RowFile]] = {
    ".ndjson": NdjsonFile, ".jsonl": NdjsonFile, ".json": NdjsonFile, ".csv": CsvFile,
    ".parquet": _open_parquet,
}  # fmt: skip


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
        self._batch_events_max = settings.batch_events_max
        self._record = record
        self._replay = Replay(settings, book, before_step=before_step)
        self._source = self._replay.begin(record.stream, 0)

    def run(
        self, rows: RowFile, *, from_start: bool = False,
        say: Callable[[float], None] = lambda _share: None,
    ) -> Counts:  # fmt: skip
        """Count every row that is not durable yet (with `from_start`, every row).

        Returns when all of it is durable. `say` hears which share of the file is read.
        """
        start = 0 if from_start else self._replay.next_offset(self._source) or 0
        self._replay.counts.skipped = following = start
        for chunk in rows.chunks(start, self._batch_events_max):
            self._step(chunk, following)
            following = chunk.numbers[-1] + 1
            say(chunk.share)
        self._replay.settle()
        return self._replay.counts

    def close(self) -> None:
        """Drop everything; what is not durable is read again by the next run."""
        self._replay.close()

    def _step(self, chunk: RowChunk, following: int) -> None:
        times = [self._record.created_ms] * len(chunk.numbers)
        raw = RawBatch(
            self._source, chunk.numbers, times, list(chunk.values), following,
            chunk.numbers[-1] + 1,
        )  # fmt: skip
        self._replay.count(self._replay.decode(raw))
