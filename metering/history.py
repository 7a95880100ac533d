"""What raw history says of identities that the dedup memory may have forgotten."""

from dataclasses import dataclass
from typing import Protocol

from metering.batch import Source


@dataclass(frozen=True, slots=True)
class Owner:
    """Coordinate and payload digest of the accepted event that holds an identity."""

    stream: str
    partition: int
    offset: int
    index: int
    digest: int

    def is_at(self, source: Source, offset: int, index: int) -> bool:
        """True for the very coordinate (a replay)."""
        return (self.stream, self.partition, self.offset, self.index) == (
            source.stream, source.partition, offset, index
        )  # fmt: skip


class History(Protocol):
    """Looks up raw events. Every call may raise `DependencyDown`."""

    def owners(self, wanted: list[tuple[str, str, bytes]]) -> dict[bytes, Owner]:
        """Owners by identity; `wanted` is (customer_id, meter, identity) each."""
        ...

    def copies(
        self, source: Source, *, first_offset: int, next_offset: int
    ) -> set[tuple[int, int]]:
        """Offset and index of what was recorded as a duplicate, or rejected (as a conflict is)."""
        ...

    def counted_values(
        self, wanted: list[tuple[str, str, str, int, str]], dimensions: dict[str, str]
    ) -> dict[tuple[str, str, str, int, str], Owner]:
        """Who was counted for a distinct value: (customer, meter, group, part start, value).

        `dimensions` names the counted dimension of each meter.
        """
        ...
