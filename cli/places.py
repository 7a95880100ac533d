"""Places and moments as they are named on the command line."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import typer

from metering import rfc3339
from sinks.rejects import Coordinate

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class PartitionPlace(NamedTuple):
    """One partition of a stream, written STREAM/PARTITION."""

    stream: str
    partition: int


def partition_place(text: str) -> PartitionPlace:
    """Raises `typer.BadParameter`. A stream may hold slashes: its last part is the partition."""
    stream, *numbers = _split(text, 1, "STREAM/PARTITION")
    return PartitionPlace(stream, int(numbers[0]))


def coordinate(text: str) -> Coordinate:
    """Raises `typer.BadParameter`."""
    stream, *numbers = _split(text, 3, "STREAM/PARTITION/OFFSET/INDEX")
    partition, offset, index = map(int, numbers)
    return Coordinate(stream, partition, offset, index)


def moment(text: str, now: datetime) -> datetime:
    """A moment: RFC 3339, or how long before `now` (`90m`, `24h`, `7d`).

    Raises `typer.BadParameter`.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    unix_us = rfc3339.microseconds(text)
    if unix_us is None:
        msg = f"expected a time like 2026-11-21T08:00:00Z or an age like 24h, got {text!r}"
        raise typer.BadParameter(msg)
    return datetime.fromtimestamp(unix_us / 1_000_000, UTC)


def _split(text: str, count: int, expected: str) -> list[str]:
    parts = text.rsplit("/", count)
    numbers = parts[1:]
    if len(numbers) != count or not parts[0] or not all(n.isdecimal() for n in numbers):
        msg = f"expected {expected}, got {text!r}; `meterline verify` and `rejects list` show them"
        raise typer.BadParameter(msg)
    return parts
