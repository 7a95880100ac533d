"""Usage of nine weeks for a customer, an hour's events to a message, through the real topic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import orjson

HOUR = timedelta(hours=1)
_WEEKS = 9
#: Hours of each day with usage, up to the one that ends at the mark; and events in each.
ACTIVE_H = 6
_EVENTS = 24


def hour_of_usage(
    customer: str, meter: str, hour: datetime, *, events: int = _EVENTS, note: str = ""
) -> bytes:
    """One message with the events of an hour, evenly spread."""
    found = [
        {
            "id": f"{customer}-{meter}-{hour:%m%d%H}-{number}{note}",
            "customer_id": customer,
            "meter": meter,
            "quantity": 1,
            "occurred_at": (hour + HOUR * number / events).isoformat(),
            "dimensions": {},
        }
        for number in range(events)
    ]
    return orjson.dumps(found)


def weeks_of_usage(
    customer: str, meter: str, *, mark: datetime, last_hours: int
) -> Iterator[bytes]:
    """Every active hour of nine weeks before `mark`; `last_hours` times as many in the last ones.

    0 times is none at all.
    """
    for age in range(_WEEKS * 168, 0, -1):
        if (age - 1) % 24 < ACTIVE_H:
            times = last_hours if age <= ACTIVE_H else 1
            if times:
                yield hour_of_usage(customer, meter, mark - age * HOUR, events=_EVENTS * times)
