"""Which partitions this worker holds, and under which generation."""

from metering.batch import Source


class Assignments:
    """The current assignments; written by the source, asked by every step and the sink's thread."""

    def __init__(self) -> None:
        """None held."""
        self._held: dict[tuple[str, int], Source] = {}

    def start(self, source: Source) -> None:
        """The partition is ours under this generation."""
        self._held[(source.stream, source.partition)] = source

    def end(self, stream: str, partition: int) -> Source | None:
        """The partition was taken away; what was held, if it was."""
        return self._held.pop((stream, partition), None)

    def is_current(self, source: Source) -> bool:
        """True while the worker holds exactly this assignment."""
        return self._held.get((source.stream, source.partition)) == source

    def held(self) -> list[Source]:
        """All that are held now."""
        return list(self._held.values())
