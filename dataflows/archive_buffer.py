"""What waits to become files of the archive: per log, cut by size, by age, or all of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sinks.archive_entry import ArchiveEntry
from sinks.archive_format import Records
from sinks.archive_writer import LogWriter

#: What one message takes beside its key and value.
_MESSAGE_BYTES = 64


@dataclass(slots=True)
class _Waiting:
    """Of one log. `start` is where its next file begins, `reached` one past what was read."""

    writer: LogWriter
    start: int
    reached: int
    lost: tuple[int, int] | None = None
    records: Records = field(default_factory=Records)
    bytes: int = 0
    since_s: float = 0.0


class ArchiveBuffer:
    """Used by one thread. `Place` is a topic and a partition.

    Bounds: a file holds `file_bytes_max` of messages and what came with the poll that went over
    it; all files that wait together hold `bytes_max`, then the largest is written.
    """

    def __init__(
        self, *, file_bytes_max: int, bytes_max: int, wait_s: float,
        clock_s: Callable[[], float], on_written: Callable[[ArchiveEntry, float], None],
    ) -> None:  # fmt: skip
        """`wait_s`: the longest that a message waits. `on_written` hears entry and seconds."""
        self._file_bytes_max = file_bytes_max
        self._bytes_max = bytes_max
        self._wait_s = wait_s
        self._clock_s = clock_s
        self._on_written = on_written
        self._logs: dict[tuple[str, int], _Waiting] = {}

    @property
    def bytes(self) -> int:
        """What waits, over all logs."""
        return sum(each.bytes for each in self._logs.values())

    @property
    def archived(self) -> dict[tuple[str, int], int]:
        """Where the next file of each log begins."""
        return {place: each.start for place, each in self._logs.items()}

    def begin(self, place: tuple[str, int], writer: LogWriter, *, start: int) -> None:
        """A log is ours to archive and read from `start` on; what lies before it is lost."""
        begins = start if writer.next_offset is None else writer.next_offset
        lost = (begins, start) if start > begins else None
        self._logs[place] = _Waiting(writer, begins, start, lost)

    def end(self, place: tuple[str, int]) -> None:
        """The log is somebody else's now: what waits is read again by them."""
        self._logs.pop(place, None)

    def add(self, place: tuple[str, int], records: Records, *, bytes_count: int) -> None:
        """Take over messages that were read; writes what is full. Raises what writing raises."""
        waiting = self._logs.get(place)
        if waiting is None:
            return
        waiting.since_s = waiting.since_s if len(waiting.records) else self._clock_s()
        waiting.records.extend(records)
        waiting.bytes += bytes_count + _MESSAGE_BYTES * len(records)
        waiting.reached = records.offsets[-1] + 1
        limit = waiting.writer.limit
        if limit is not None and waiting.reached >= limit:
            self._write_to(waiting, limit)
        if waiting.bytes >= self._file_bytes_max:
            self._write(waiting)

    def poll(self) -> None:
        """Write what has waited long enough, and the largest while there is too much."""
        now_s = self._clock_s()
        for waiting in list(self._logs.values()):
            if len(waiting.records) and now_s - waiting.since_s >= self._wait_s:
                self._write(waiting)
        while self.bytes > self._bytes_max:
            self._write(max(self._logs.values(), key=lambda each: each.bytes))

    def drain(self) -> None:
        """Write everything."""
        for waiting in self._logs.values():
            if len(waiting.records):
                self._write(waiting)

    def _write_to(self, waiting: _Waiting, limit: int) -> None:
        """End a file exactly where one ends whose entry was not written any more."""
        offsets = waiting.records.offsets
        held = sum(offset < limit for offset in offsets)
        if limit <= waiting.start or not held:
            return
        rest = waiting.records.cut(held)
        left = waiting.bytes * len(rest) // len(offsets)
        waiting.records = waiting.records.cut(0, held)
        reached, waiting.reached = waiting.reached, limit
        self._write(waiting)
        waiting.records, waiting.bytes, waiting.reached = rest, left, reached
        waiting.since_s = self._clock_s()

    def _write(self, waiting: _Waiting) -> None:
        began = self._clock_s()
        entry = waiting.writer.write(
            waiting.records, first_offset=waiting.start, next_offset=waiting.reached,
            lost=waiting.lost,
        )  # fmt: skip
        waiting.start, waiting.lost = waiting.reached, None
        waiting.records, waiting.bytes = Records(), 0
        self._on_written(entry, self._clock_s() - began)
