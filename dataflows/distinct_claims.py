"""Distinct values in the dedup memory, after a correction: held by the event that counts for them.

A worker counts the first event with a value in a part of a period, and asks the dedup memory who
was first. Where parts moved, or the event that counted was taken back, the memory is told anew;
what nobody counts for any more is let go, so that the next event counts.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from metering.batch import Source
from metering.claims import Claims
from metering.value_identity import ValueKey, value_identity


class Place(NamedTuple):
    """Where the event that counts for a value stands."""

    stream: str
    partition: int
    offset: int
    index: int  # type: ignore[assignment]


class Reassigns(Protocol):
    """A dedup memory that can be told whose identities are."""

    def reassign(self, claims: Claims, *, are_held: bool) -> None:
        """Hold them for their coordinates, or let them go. May raise `DependencyDown`."""
        ...


class DistinctClaims:
    """Tells one dedup memory."""

    def __init__(self, memory: Reassigns, *, seed: int) -> None:
        """`seed` keys the hash of distinct values, as it does for identities."""
        self._memory = memory
        self._seed = seed

    def hold(self, values: Mapping[ValueKey, Place]) -> None:
        """Each value is held by the event at its place, whoever held it. Again is the same."""
        by_source: dict[tuple[str, int], list[tuple[ValueKey, Place]]] = {}
        for key, place in values.items():
            by_source.setdefault((place.stream, place.partition), []).append((key, place))
        for source, found in sorted(by_source.items()):
            self._tell(source, sorted(found, key=lambda each: each[1]), are_held=True)

    def let_go(self, values: Iterable[ValueKey]) -> None:
        """Nobody holds these values; the next event that has one counts."""
        nowhere = Place("", 0, 0, 0)
        found = [(key, nowhere) for key in sorted(values)]
        if found:
            self._tell(("", 0), found, are_held=False)

    def _tell(
        self, source: tuple[str, int], found: list[tuple[ValueKey, Place]], *, are_held: bool
    ) -> None:
        joined = b"".join(value_identity(self._seed, key) for key, _ in found)
        claims = Claims(
            Source(*source, 0),
            np.frombuffer(joined, np.uint64).reshape(-1, 2),
            np.array([place.offset for _, place in found], np.int64),
            np.array([place.index for _, place in found], np.int64),
            np.zeros(len(found), np.uint32),
            0,
        )
        self._memory.reassign(claims, are_held=are_held)
