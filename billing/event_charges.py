"""What each event of a billing period adds to its charge, one after the other. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from billing.events import RawEvent
from metering.catalog import Aggregation
from rating_engine.combine import Quantity, combined
from rating_engine.exact import ONE_UNIT
from rating_engine.period_rater import PeriodRater
from rating_engine.rater import Rated


class EventCharge(NamedTuple):
    """An event, the span it occurred in, and the difference that it makes.

    `before` and `after` are the quantity (10^-12 units) of what is priced together with the event:
    its part of the period, or its span where the meter is not charged.
    """

    event: RawEvent
    span: int
    before: int
    after: int
    rated: Rated


@dataclass(slots=True)
class EventSums:
    """What the events come to; added up while they pass by. Charges are in 10^-24.

    `stored` and `derived` are those of the events which the stream has rated: what it stored, and
    what comes out now.
    """

    events: int = 0
    charge: int = 0
    events_stored: int = 0
    sources: set[tuple[str, int]] = field(default_factory=set)
    stored: int = 0
    derived: int = 0


class EventCharges:
    """Rates events in the order of the log; one for each (customer, meter, group, period)."""

    def __init__(
        self, rater: PeriodRater, borders_us: Sequence[int], *, aggregation: Aggregation
    ) -> None:
        """`borders_us` are the start of every span and the end of the last."""
        self._rater = rater
        self._borders = borders_us
        self._aggregation = aggregation
        self._values: list[Quantity] = [None] * (len(borders_us) - 1)
        self._newest: list[tuple[int, bytes]] = [(-(1 << 63), b"")] * len(self._values)
        together = {
            at: (first, last) for first, last in rater.parts for at in range(first, last + 1)
        }
        self._together = [together.get(at, (at, at)) for at in range(len(self._values))]
        self.sums = EventSums()

    def charges(self, events: Iterable[RawEvent]) -> Iterator[EventCharge]:
        """Each event with its charge; the sums are complete when all have passed."""
        total = self._rater.total(self._values)
        for event in events:
            span = bisect_right(self._borders, event.occurred_us) - 1
            before = self._value(span)
            self._add(event, span)
            now = self._rater.total(self._values)
            found = EventCharge(event, span, before, self._value(span), now.since(total))
            total = now
            self._sum_up(found)
            yield found

    def _add(self, event: RawEvent, span: int) -> None:
        aggregation = self._aggregation
        units = event.quantity
        if aggregation is Aggregation.COUNT:
            units = ONE_UNIT
        elif aggregation is Aggregation.UNIQUE_COUNT:
            units = ONE_UNIT if event.counted else 0
        elif aggregation is Aggregation.LATEST:
            moment = (event.occurred_us, event.identity)
            if moment < self._newest[span]:
                return
            self._newest[span] = moment
        self._values[span] = combined([self._values[span], units], aggregation)

    def _value(self, span: int) -> int:
        first, last = self._together[span]
        return combined(self._values[first : last + 1], self._aggregation) or 0

    def _sum_up(self, found: EventCharge) -> None:
        sums = self.sums
        sums.events += 1
        sums.charge += found.rated.charge
        if found.event.stored is not None:
            sums.events_stored += 1
            sums.sources.add((found.event.place.stream, found.event.place.partition))
            sums.stored += found.event.stored.charge
            sums.derived += found.rated.charge
