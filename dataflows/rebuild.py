"""Rebuilds a ClickHouse database from the archive, through the steps of the live path.

    archive  -> RawBatch   every message at its own stream, partition, offset and record time
             -> decode -> load -> dedup -> account -> sink, as in `pipeline`

So raw history, outcomes, totals and how far each partition is durable come out as they were. What
was written of it is not written again: an interrupted rebuild goes on where it is durable.

    1  the dedup memory is emptied      crash after: the database is empty, it begins anew
    2  the database is marked, streams are recorded   crash after: it goes on, from the start
    3  everything is counted            crash after any write: as with a worker's
    4  the mark says that it is done    crash after: nothing is left to do
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from dataflows.rebuild_cursor import LogCursor
from dataflows.rebuild_order import in_order
from dataflows.replay import Counts, Replay
from metering.errors import PermanentError
from metering.settings import Settings
from rating_engine.price_book.book import PriceBook
from sinks.archive_entry import ArchiveEntry
from sinks.archive_reader import ArchiveReader
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_adopt import rebuild_memory
from sinks.progress import Progress
from sinks.rebuild_state import RebuildState

Say = Callable[[float], None]


class Rebuild:
    """One rebuild into the database of `settings`. Used once, by one thread."""

    def __init__(
        self, settings: Settings, book: PriceBook, reader: ArchiveReader, *,
        until: datetime | None = None, before_step: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """`until` (aware, exclusive) leaves out what arrived from then on."""
        self._settings = settings
        self._book = book
        self._reader = reader
        self._until_ms = None if until is None else int(until.timestamp() * 1000)
        self._until = "" if until is None else until.isoformat()
        self._before_step = before_step
        self.counts = Counts()

    def run(self, say: Say = lambda _share: None) -> bool:
        """Rebuild all of it; False if that was done before, and nothing was to do.

        `say` hears which share is done. Raises `ArchiveBroken`, `PermanentError` when the
        database is not empty, `TransientError`.
        """
        client = connect_clickhouse(self._settings)
        try:
            state = RebuildState(client, uri=self._reader.store.uri, until=self._until)
            state.check()
            if state.is_finished:
                return False
            logs = self._counted()
            if not state.is_interrupted:
                rebuild_memory(self._settings, client, self._book.catalog, reason="rebuild")
                state.start()
            _record_streams(Progress(client), logs)
            self._count(logs, say)
            state.finish()
        finally:
            client.close()
        return True

    def _counted(self) -> list[list[ArchiveEntry]]:
        found = [
            entries for entries in self._reader.manifests() if entries[0].log.kind != "rejected"
        ]
        if not found:
            msg = f"archive {self._reader.store.uri}: expected archived events, got none"
            raise PermanentError(msg)
        return found

    def _count(self, logs: list[list[ArchiveEntry]], say: Say) -> None:
        replay = Replay(self._settings, self._book, before_step=self._before_step)
        try:
            cursors = [self._cursor(replay, entries) for entries in logs]
            total = sum(entry.next_offset - entry.first_offset for log in logs for entry in log)
            generation_ms = -1
            for piece in in_order(
                cursors, replay.decode, size=self._settings.batch_events_max,
                window_ms=self._settings.dedup_window // timedelta(milliseconds=1),
                before=lambda cursor: _record_loss(replay, cursor),
            ):  # fmt: skip
                if piece.began_ms > generation_ms:
                    replay.begin_generation(piece.began_ms)
                    generation_ms = piece.began_ms
                replay.claim_first(piece.firsts)
                for batch in piece.batches:
                    replay.count(batch)
                say(sum(cursor.done for cursor in cursors) / total)
            replay.settle()
        finally:
            self.counts.add(replay.counts)
            replay.close()

    def _cursor(self, replay: Replay, entries: list[ArchiveEntry]) -> LogCursor:
        log = entries[0].log
        source = replay.begin(log.stream, log.partition)
        start = replay.next_offset(source) or 0
        return LogCursor(self._reader, entries, source=source, start=start, until_ms=self._until_ms)


def _record_loss(replay: Replay, cursor: LogCursor) -> None:
    while (gap := cursor.skip_lost()) is not None:
        replay.record_loss(cursor.source, gap.first_offset, gap.next_offset)


def _record_streams(progress: Progress, logs: list[list[ArchiveEntry]]) -> None:
    """Streams as they were recorded, so that workers and backfills go on with them."""
    began: dict[str, int] = {}
    for entries in logs:
        stream = entries[0].log.stream
        began[stream] = min(began.get(stream, entries[0].first_record_ms), *_times(entries))
    for log in (entries[0].log for entries in logs):
        if progress.stream(log.stream) is None:
            progress.register(
                log.stream, "backfill" if log.kind == "backfill" else "live", topic=log.topic,
                topic_id=log.topic_id, created_ms=began[log.stream],
            )  # fmt: skip


def _times(entries: list[ArchiveEntry]) -> list[int]:
    return [entry.first_record_ms for entry in entries]
