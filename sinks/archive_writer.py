"""Writes one log into the archive, file after file: three numbered steps for each.

    1  file   the Parquet file, under the name of its range of offsets.
              Crash after: a file without an entry, which nobody reads. The next run ends its
              first file where that one ends (`limit`), so it writes the same bytes over it.
    2  entry  which names file and checksum; from here on the range is archived.
              Crash after: the head is one behind. Whoever reads it looks for what follows.
    3  head   a copy of the newest entry, from which the next run goes on.
              Crash after: nothing is left to do.

No offset is committed to Kafka: the newest entry says where to go on. An entry is created, never
replaced: a writer that finds one at its place was replaced itself, drops what it has and asks anew.
"""

import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from metering.errors import AssignmentLost
from sinks.archive_entry import HEAD, ArchivedLog, ArchiveEntry, Gap, range_of
from sinks.archive_format import Records, encode_records
from sinks.archive_reader import ArchiveReader
from sinks.archive_store import ArchiveStore

#: How a test learns of the step that is about to be taken.
BeforeStep = Callable[[int], None]


class LogWriter:
    """The end of one archived log. One writer at a time: see `AssignmentLost`."""

    def __init__(
        self, store: ArchiveStore, log: ArchivedLog, *, before_step: BeforeStep | None = None
    ) -> None:
        """Find where the log goes on. Raises `ArchiveBroken`, `DependencyDown`."""
        self._store = store
        self._log = log
        self._before_step = before_step or (lambda _step: None)
        self._newest = ArchiveReader(store).newest(log)
        store.sweep(log.folder)
        self.limit = self._unlisted()

    @property
    def log(self) -> ArchivedLog:
        """Which log it is."""
        return self._log

    @property
    def next_offset(self) -> int | None:
        """One past what is archived; None before the first file."""
        return None if self._newest is None else self._newest.next_offset

    def write(
        self, records: Records, *, first_offset: int, next_offset: int,
        lost: tuple[int, int] | None = None,
    ) -> ArchiveEntry:  # fmt: skip
        """Archive the range `first_offset` .. `next_offset` - 1; durable when this returns.

        `records` are all that the log holds of it, at least one; `lost` is a half-open range at
        its beginning that was gone before it was read. Raises `AssignmentLost` when somebody else
        wrote there, `DependencyDown`.
        """
        expected = self.next_offset
        assert len(records), "a range without a record is part of the next file"
        assert expected is None or first_offset == expected, (first_offset, expected)
        data = encode_records(records)
        entry = ArchiveEntry(
            log=self._log, first_offset=first_offset, next_offset=next_offset, rows=len(records),
            first_record_ms=min(records.times_ms), last_record_ms=max(records.times_ms),
            size_bytes=data.size, sha256=hashlib.sha256(data).hexdigest(),
            gaps=gaps_between(records.offsets, (first_offset, next_offset), lost=lost),
            previous="" if self._newest is None else self._newest.chain,
        ).sealed()  # fmt: skip
        self._before_step(1)
        self._store.put(entry.file, data)
        self._before_step(2)
        if not self._store.create(entry.path, entry.encoded()):
            msg = f"{entry.path}: another process archives this log; what is in hand is dropped"
            raise AssignmentLost(msg)
        self._before_step(3)
        self._store.put(f"{self._log.folder}/{HEAD}", entry.encoded())
        self._newest, self.limit = entry, None
        return entry

    def _unlisted(self) -> int | None:
        """Where a file ends that was written without its entry, so that it is written again."""
        ranges = filter(None, map(range_of, self._store.names(self._log.folder)))
        start = self.next_offset
        ends = [following for first, following in ranges if start is None or first == start]
        return min(ends, default=None)


def gaps_between(
    offsets: list[int], covered: tuple[int, int], *, lost: tuple[int, int] | None = None
) -> tuple[Gap, ...]:
    """What is not among ascending `offsets` of a half-open range that covers them."""
    first, following = covered
    found = []
    if lost is not None:
        found.append(Gap(*lost, reason="lost"))
        first = lost[1]
    reason: Literal["control"] = "control"
    if following - first != len(offsets):
        borders = [first - 1, *offsets, following]
        found += [
            Gap(before + 1, after, reason)
            for before, after in pairwise(borders)
            if after > before + 1
        ]
    return tuple(found)
