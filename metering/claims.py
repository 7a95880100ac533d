"""What the dedup step asks and what it is told: pure types, shared by every dedup store."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metering.batch import Source


class Claim(IntEnum):
    """The answer for one event."""

    FIRST = 0  # nobody held this identity: it is the asker's now
    OWN = 1  # held by this very coordinate: a replay
    DUPLICATE = 2  # held by another coordinate, same payload
    CONFLICT = 3  # held by another coordinate, with another payload


@dataclass(frozen=True, slots=True)
class Claims:
    """Identities that one partition claims, in coordinate order; columns of equal length.

    `identities` has shape (n, 2). `digests` use the low 24 bits. `record_ms` is the newest record
    timestamp of the batch (Unix milliseconds), which decides the generation written to.
    """

    source: Source
    identities: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    indexes: NDArray[np.int64]
    digests: NDArray[np.uint32]
    record_ms: int

    def __len__(self) -> int:
        """Number of identities claimed."""
        return len(self.identities)

    def at(self, positions: NDArray[np.int64]) -> "Claims":
        """Some of them, in the order of `positions`."""
        return Claims(
            self.source, self.identities[positions], self.offsets[positions],
            self.indexes[positions], self.digests[positions], self.record_ms,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClaimAnswers:
    """One answer per claim, in the order of the claims.

    The owner columns tell whose the identity is; `owner_partitions` is -1 where the owner is in
    another stream. For FIRST and OWN they name the claim's own coordinate.
    """

    statuses: NDArray[np.uint8]
    owner_partitions: NDArray[np.int64]
    owner_offsets: NDArray[np.int64]
    owner_indexes: NDArray[np.int64]


class CoverageMoved(Exception):
    """The memory has moved on to a newer generation than the asker knew."""


class DedupStore(Protocol):
    """Remembers who came first, and which assignment of a partition is in force.

    Every call may raise `DependencyDown` (no answer: nothing is known about what was written) or
    `DedupMemoryLost` (not the memory that was adopted).
    """

    def begin(self, stream: str, partition: int) -> Source:
        """Start a new assignment of a partition; all older generations are refused from now on."""
        ...

    def claim(self, claims: Claims) -> ClaimAnswers:
        """Claim identities in one atomic step per shard.

        Raises `AssignmentLost` when the claims' generation is not the newest, and `CoverageMoved`
        when less is remembered than `oldest_covered_ms` said: look up again and ask again. Nothing
        is written on the shard that refused.
        """
        ...

    def owned(self, claims: Claims) -> NDArray[np.bool_]:
        """Which of them are remembered as their own; nothing is claimed."""
        ...

    def stale(self, sources: list[Source]) -> list[Source]:
        """Those of `sources` whose generation is not in force any more; asked before a write."""
        ...

    def oldest_covered_ms(self, record_ms: int) -> int:
        """Moment from which on every claim is remembered (Unix milliseconds).

        It is what will hold once a claim with `record_ms` is made: such a claim may begin a new
        generation, and the oldest is forgotten then.
        """
        ...
