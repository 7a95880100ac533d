"""Reads one archived log in order, a little ahead of what is counted."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from metering.batch import RawBatch, Source
from sinks.archive_entry import ArchiveEntry, Gap
from sinks.archive_format import Records
from sinks.archive_reader import ArchiveReader


class Key(NamedTuple):
    """The order in which all logs are replayed. A record is never before one of its own log."""

    time_ms: int
    partition: int
    stream: str
    offset: int


class LogCursor:
    """Where one log is replayed. `until_ms` (exclusive, by record time) may end it before its end.

    `position` is one past the last offset that was taken.
    """

    def __init__(
        self, reader: ArchiveReader, entries: list[ArchiveEntry], *, source: Source, start: int,
        until_ms: int | None,
    ) -> None:  # fmt: skip
        """Offsets before `start` are durable already."""
        self.source = source
        self.position = max(start, entries[0].first_offset)
        self.has_more = True
        self._first = entries[0].first_offset
        self._until_ms = until_ms
        self._lost = [
            gap
            for entry in entries
            for gap in entry.gaps
            if gap.reason == "lost" and gap.first_offset >= self.position
        ]
        self._pieces = self._read(reader, entries)
        self._records = Records()
        self._reached_ms = 0
        self.keys: list[Key] = []

    def __len__(self) -> int:
        """Records at hand."""
        return len(self._records)

    @property
    def done(self) -> int:
        """Offsets that lie behind."""
        return self.position - self._first

    def fill(self, size: int) -> None:
        """Read until `size` records are at hand, or there are no more."""
        while self.has_more and len(self._records) < size:
            piece = next(self._pieces, None)
            if piece is None:
                self.has_more = False
            else:
                self._add(piece)

    def count_before(self, time_ms: int) -> int:
        """How many of the records at hand stand before a moment."""
        return bisect_left(self.keys, time_ms, key=lambda key: key.time_ms)

    def take(self, count: int) -> RawBatch:
        """The first `count` records as a batch that begins at `position`."""
        taken, self._records = self._records.cut(0, count), self._records.cut(count)
        self.keys = self.keys[count:]
        first, self.position = self.position, taken.offsets[-1] + 1
        return RawBatch(
            self.source, taken.offsets, taken.times_ms, taken.values, first, self.position
        )

    def skip_lost(self) -> Gap | None:
        """The range right before the next record whose loss was accepted, if there is one."""
        if not self._lost or not self._records:
            return None
        if self._lost[0].next_offset > self._records.offsets[0]:
            return None
        gap = self._lost.pop(0)
        self.position = gap.next_offset
        return gap

    def _add(self, piece: Records) -> None:
        times = list(accumulate([self._reached_ms, *piece.times_ms], max))[1:]
        if self._until_ms is not None:
            kept = sum(time_ms < self._until_ms for time_ms in times)
            self.has_more = kept == len(times)
            piece, times = piece.cut(0, kept), times[:kept]
        if not times:
            return
        self._reached_ms = times[-1]
        self._records.extend(piece)
        stream, partition = self.source.stream, self.source.partition
        self.keys += [
            Key(time_ms, partition, stream, offset)
            for time_ms, offset in zip(times, piece.offsets, strict=True)
        ]

    def _read(self, reader: ArchiveReader, entries: list[ArchiveEntry]) -> Iterator[Records]:
        start = self.position
        for entry in entries:
            if entry.next_offset <= start:
                continue
            for piece in reader.records(entry):
                before = sum(offset < start for offset in piece.offsets)
                if before < len(piece):
                    yield piece.cut(before)
