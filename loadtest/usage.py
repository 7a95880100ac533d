"""One usage event as its producer means it, before any shape or defect is put on it."""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import NamedTuple

from loadtest.meters import Meter, Quantity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSETS = (timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8)))


class Shape(Enum):
    """The JSON that an event travels in."""

    OWN = "own"
    CLOUD_EVENT = "cloud_event"
    CAMEL_CASE = "camel_case"


class Usage(NamedTuple):
    """What happened: `customer_id` used `quantity` of `meter` at `occurred_us` (Unix us, UTC).

    `names_customer` says whether the event carries its customer, or only a `subject` that a
    binding resolves to it. `late` is the generator's own knowledge: it arrives more than the
    allowed lateness after it occurred. `serial` is its number within the workload.
    """

    serial: int
    id: str
    customer_id: str
    names_customer: bool
    subject: str | None
    meter: Meter
    quantity: Quantity
    occurred_us: int
    dimensions: dict[str, str]
    late: bool
    shape: Shape


def rfc3339(unix_us: int, offset: int = 0) -> str:
    """A moment as text: with Z, or in one of two other offsets (`offset` 1 and 2)."""
    moment = _EPOCH + timedelta(microseconds=unix_us)
    if offset:
        return moment.astimezone(_OFFSETS[offset - 1]).isoformat()
    return moment.replace(tzinfo=None).isoformat() + "Z"


def unix_us(moment: datetime) -> int:
    """Unix microseconds of an aware moment, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
