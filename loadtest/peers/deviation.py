"""How far the totals of a peer are from the truth: events and quantities, hour by hour."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from loadtest.outcome import Outcome, Total


class Hour(NamedTuple):
    """What all add up by, without groups; `window_start` is Unix seconds UTC."""

    customer_id: str
    meter: str
    window_start: int


@dataclass(frozen=True)
class Deviation:
    """Counted against true. `events` is signed: more than there were, or fewer."""

    events_true: int
    events: int
    events_missing: int
    quantity_true: Decimal
    quantity: Decimal
    hours: int
    hours_wrong: int

    @property
    def is_none(self) -> bool:
        """Every hourly total is right."""
        return not self.hours_wrong

    @property
    def text(self) -> str:
        """One cell of a table."""
        if self.is_none:
            return "exact"
        share = 100 * self.quantity / self.quantity_true if self.quantity_true else Decimal(0)
        wrong = 100 * self.hours_wrong / max(self.hours, 1)
        missing = f", {self.events_missing:,} lost" if self.events_missing else ""
        return (
            f"{self.events:+,} events{missing}; quantity {share:+.3f} %;"
            f" {self.hours_wrong:,} totals wrong ({wrong:.1f} %)"
        )


def true_hours(truth: Outcome) -> dict[Hour, Total]:
    """The truth without groups."""
    found: dict[Hour, Total] = {}
    for key, total in truth.totals.items():
        hour = Hour(key.customer_id, key.meter, key.window_start)
        before = found.get(hour, Total(Decimal(0), 0))
        found[hour] = Total(before.quantity + total.quantity, before.events + total.events)
    return found


def deviation(expected: Mapping[Hour, Total], got: Mapping[Hour, Total]) -> Deviation:
    """Compare every hour that either of them has. `events_missing` adds up hours that lack some."""
    nothing = Total(Decimal(0), 0)
    hours = expected.keys() | got.keys()
    pairs = [(expected.get(hour, nothing), got.get(hour, nothing)) for hour in hours]
    return Deviation(
        events_true=sum(right.events for right, _ in pairs),
        events=sum(found.events - right.events for right, found in pairs),
        events_missing=sum(max(right.events - found.events, 0) for right, found in pairs),
        quantity_true=sum((right.quantity for right, _ in pairs), Decimal(0)),
        quantity=sum((found.quantity - right.quantity for right, found in pairs), Decimal(0)),
        hours=len(expected),
        hours_wrong=sum(right != found for right, found in pairs),
    )
