"""Notices that ClickHouse lost rows which this worker wrote: a backup was restored, or all is gone.

Totals are absolute, and a stored offset says what is in them: written onto a database that was set
back, they would hide for good that raw history lacks events. So right before totals and watermarks
are written, what is durable is read again. Where it is less than this worker knows it to have been,
nothing is written; the next worker reads on from what is durable.
"""

from metering.batch import Source
from metering.errors import RowsLost
from sinks.progress import Progress


class DurableRows:
    """What is durable of each assignment of one worker; `began` may be another thread's."""

    def __init__(self, progress: Progress) -> None:
        """Nothing is known yet."""
        self._progress = progress
        self._known: dict[Source, int] = {}

    def began(self, source: Source, next_offset: int | None) -> None:
        """An assignment, with the next offset after what ClickHouse holds; None if it holds none.

        It takes the place of earlier assignments of the partition.
        """
        for earlier in list(self._known):
            if (earlier.stream, earlier.partition) == (source.stream, source.partition):
                del self._known[earlier]
        self._known[source] = next_offset or 0

    def require(self, sources: list[Source]) -> None:
        """Ask ClickHouse, in one query. Raises `RowsLost` and `DependencyDown`."""
        expected = {source: self._known.get(source, 0) for source in sources}
        if not any(expected.values()):
            return
        found = self._progress.next_offsets(sources)
        lost = [
            f"{source.stream} partition {source.partition}: expected rows up to offset"
            f" {offset - 1}, got {_up_to(found.get((source.stream, source.partition), 0))}"
            for source, offset in expected.items()
            if found.get((source.stream, source.partition), 0) < offset
        ]
        if lost:
            msg = (
                f"ClickHouse lost rows that this worker wrote (a restored backup?): "
                f"{'; '.join(lost)}. Nothing more is written; what is lost is read again from the "
                "log. Run `meterline verify` when that is done"
            )
            raise RowsLost(msg)

    def wrote(self, source: Source, next_offset: int) -> None:
        """Rows up to this offset are durable now."""
        if source in self._known:
            self._known[source] = max(self._known[source], next_offset)


def _up_to(next_offset: int) -> str:
    return f"up to {next_offset - 1}" if next_offset else "none"
