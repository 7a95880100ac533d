"""A preload in which some messages stand once more, on another partition.

A producer that is restarted with another partitioner, or a topic that was given more partitions,
sends a retry where its first copy is not: dedup that looks into one partition cannot know it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from loadtest.outcome import Outcome
from loadtest.preload import Chunk, Preload


@dataclass
class WithCopies:
    """Every `every`-th message of each chunk again, at its end, one partition further.

    Iterate it once; then `outcome` is the truth, as of the preload itself.
    """

    load: Preload
    every: int = 200
    copies: int = 0

    def __iter__(self) -> Iterator[Chunk]:
        """The chunks of the preload, each with its copies."""
        partitions = self.load.plan.partitions
        for chunk in self.load:
            chosen = range(0, len(chunk.keys), self.every)
            self.copies += len(chosen)
            yield Chunk(
                chunk.keys + [chunk.keys[place] for place in chosen],
                chunk.values + [chunk.values[place] for place in chosen],
                chunk.partitions + [(chunk.partitions[place] + 1) % partitions for place in chosen],
            )

    def outcome(self) -> Outcome:
        """What is accepted and every total are those of the preload: copies add duplicates only."""
        truth = self.load.outcome()
        return replace(truth, duplicates=truth.duplicates + self.copies)
