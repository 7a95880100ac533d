"""Puts the rows of a backfill into the archive before they are counted, as a log of their own.

So a rebuild has them too: at the same stream and row number, with the same record time. Rows that
are there already are not written again; the file's digest, in the stream's name, says they are.
"""

import time

from dataflows.archive_buffer import ArchiveBuffer
from dataflows.backfill_rows import RowFile
from metering.settings import Settings
from sinks.archive_entry import ArchivedLog
from sinks.archive_format import Records
from sinks.archive_store import ArchiveStore
from sinks.archive_writer import LogWriter
from sinks.progress import StreamRecord


def archive_rows(
    settings: Settings, store: ArchiveStore, *, record: StreamRecord, rows: RowFile
) -> int:
    """Archive every row that is not archived yet; how many. Raises `DependencyDown`."""
    log = ArchivedLog(record.stream, 0, "backfill", record.topic, record.topic_id)
    writer = LogWriter(store, log)
    buffer = ArchiveBuffer(
        file_bytes_max=settings.archive_file_bytes_max,
        bytes_max=settings.archive_waiting_bytes_max, wait_s=float("inf"),
        clock_s=time.monotonic, on_written=lambda _entry, _seconds: None,
    )  # fmt: skip
    place = (log.topic, log.partition)
    start, count = writer.next_offset or 0, 0
    buffer.begin(place, writer, start=start)
    for chunk in rows.chunks(start, settings.batch_events_max):
        n = len(chunk.numbers)
        values: list[bytes | None] = list(chunk.values)
        records = Records(
            chunk.numbers, [record.created_ms] * n, [None] * n, values, [None] * n
        )  # fmt: skip
        buffer.add(place, records, bytes_count=sum(map(len, chunk.values)))
        count += n
    buffer.drain()
    return count
