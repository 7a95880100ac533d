"""Places as they are named on the command line: a partition, an event's coordinate."""

from typing import NamedTuple

import typer


class PartitionPlace(NamedTuple):
    """One partition of a stream, written STREAM/PARTITION."""

    stream: str
    partition: int


class Coordinate(NamedTuple):
    """One event, written STREAM/PARTITION/OFFSET/INDEX."""

    stream: str
    partition: int
    offset: int
    index: int  # type: ignore[assignment]

    def __str__(self) -> str:
        """As it is written."""
        return "/".join(map(str, self))


def partition_place(text: str) -> PartitionPlace:
    """Raises `typer.BadParameter`. A stream may hold slashes: its last part is the partition."""
    stream, *numbers = _split(text, 1, "STREAM/PARTITION")
    return PartitionPlace(stream, int(numbers[0]))


def coordinate(text: str) -> Coordinate:
    """Raises `typer.BadParameter`."""
    stream, *numbers = _split(text, 3, "STREAM/PARTITION/OFFSET/INDEX")
    partition, offset, index = map(int, numbers)
    return Coordinate(stream, partition, offset, index)


def _split(text: str, count: int, expected: str) -> list[str]:
    parts = text.rsplit("/", count)
    numbers = parts[1:]
    if len(numbers) != count or not parts[0] or not all(n.isdecimal() for n in numbers):
        msg = f"expected {expected}, got {text!r}; `meterline verify` and `rejects list` show them"
        raise typer.BadParameter(msg)
    return parts
