"""What prices an event: the part of a billing period that holds it, and the terms of its meter.

A part is a stretch of a customer's billing period in which one price version holds; it is what
is rated as one. Parts are worked out once for all customers that have one plan the whole period.
Where nothing is charged, parts are stretches without a subscription, or calendar months in UTC.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from metering.catalog import Aggregation
from metering.period import period_end, period_start
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.combine import LEVELS
from rating_engine.price_book.book import PriceBook, PricedSpan
from rating_engine.price_book.stored_rows import BilledPeriod
from rating_engine.proration import Share
from rating_engine.split import Segment, SplitRater, carries_over
from rating_engine.terms import ChargeTerms, of_part

_SECOND_US = 1_000_000
#: Prices of a part: nothing is charged; each meter has parts of its own; parts are rated together.
UNPRICED, SPLIT, CHAINED = -1, -2, -3
#: What is remembered of split periods, in each place; full, it starts again.
KEPT_MAX = 50_000
#: Groups whose rater a chain keeps; full, it starts again.
_RATERS_MAX = 1_000
_NO_GROUP = "{}"


class Part(NamedTuple):
    """From `start` (inclusive) to `end` (exclusive), Unix seconds; within a billing period.

    `price` is a position in `Pricing.prices`, or one of `UNPRICED`, `SPLIT`, `CHAINED`.
    """

    start: int
    end: int
    period_start: int
    price: int


class Price(NamedTuple):
    """Terms by meter, prorated for one part, and where they come from."""

    plan: str
    version: int
    currency: str
    charges: Mapping[str, ChargeTerms]


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Parts of a meter whose allowance is carried over: each is one segment, they ascend.

    `prices` say for each part where its terms come from. Most customers of a plan share one.
    """

    parts: tuple[Part, ...]
    segments: tuple[Segment, ...]
    prices: tuple[Price, ...]
    length_us: int
    _raters: dict[str, SplitRater] = field(default_factory=dict)

    def rater(self, group: str) -> SplitRater:
        """What rates the values of all parts together; `group` is canonical JSON."""
        name = group if any(each.terms.depends_on_group for each in self.segments) else _NO_GROUP
        found = self._raters.get(name)
        if found is None:
            if len(self._raters) >= _RATERS_MAX:
                self._raters.clear()
            found = SplitRater(self.segments, self.length_us, group=json.loads(name))
            self._raters[name] = found
        return found

    def price_from(self, start: int) -> tuple[Price, ChargeTerms, int]:
        """Where the price of the part that starts there comes from, and its terms.

        The third is how many seconds before it the parts begin whose use counts against it.
        """
        at = next(at for at, part in enumerate(self.parts) if part.start == start)
        carries_s = 0 if self.segments[at].prorate_allowance else start - self.parts[0].start
        return self.prices[at], self.rater(_NO_GROUP).rater_of(at).terms, carries_s


class _MeterParts(NamedTuple):
    start: int
    end: int
    parts: tuple[Part, ...]
    chains: Mapping[int, Chain]  # by the start of each of its parts


class Pricing:
    """Parts and prices under one price book; for one thread. Remembers each price for good."""

    def __init__(self, book: PriceBook) -> None:
        """Know nothing yet."""
        self.book = book
        self.prices: list[Price] = []
        self._numbers: dict[object, int] = {}
        self._periods: dict[BillingCalendar, BillingPeriod] = {}
        self._whole: dict[object, tuple[PricedSpan, ...]] = {}
        self._split: dict[object, _MeterParts] = {}
        #: What was found last of a customer's meter: it is asked again for the card and the chain.
        self._latest: dict[tuple[str, str], _MeterParts] = {}
        self._billed: dict[tuple[str, int], BilledPeriod] = {}

    def part_at(self, customer_id: str, second: int) -> Part:
        """The customer's part that holds a moment; `SPLIT` where meters differ in their parts."""
        calendar = self.book.calendar_of(customer_id)
        if calendar is None:
            start = period_start(second)
            return Part(start, period_end(start), start, UNPRICED)
        period = self._period(calendar, second)
        _, spans = self._spans(customer_id, period)
        if spans and (customer_id, period.start) not in self._billed:
            name = self._last_subscription(customer_id, period)
            self._billed[customer_id, period.start] = BilledPeriod(customer_id, period, spans, name)
        at = period.start
        for priced in spans:
            start, end = _borders(priced, period)
            if second < start:
                return Part(at, start, period.start, UNPRICED)
            if second < end:
                price = self._number(priced, period) if len(spans) == 1 else SPLIT
                return Part(start, end, period.start, price)
            at = end
        return Part(at, period.end, period.start, UNPRICED)

    def meter_part(self, customer_id: str, meter: str, *, second: int) -> Part:
        """The part of one meter that holds a moment, where `part_at` says `SPLIT`."""
        parts = self._of_meter(customer_id, meter, second=second).parts
        return next(part for part in parts if part.start <= second < part.end)

    def chain(self, customer_id: str, meter: str, *, start: int) -> Chain:
        """The parts that are rated together with the `CHAINED` one that starts at `start`."""
        return self._of_meter(customer_id, meter, second=start).chains[start]

    def take_billed(self) -> list[BilledPeriod]:
        """Billing periods that were met since this was last asked; one may come again."""
        found = list(self._billed.values())
        self._billed = {}
        return found

    def _last_subscription(self, customer_id: str, period: BillingPeriod) -> str:
        begin_us, end_us = period.start * _SECOND_US, period.end * _SECOND_US
        held = self.book.subscriptions.between(customer_id, begin_us, end_us=end_us)
        return [each.id for each in held][-1]

    def _period(self, calendar: BillingCalendar, second: int) -> BillingPeriod:
        period = self._periods.get(calendar)
        if period is None or not period.start <= second < period.end:
            period = self._periods[calendar] = calendar.period_of(second * _SECOND_US)
        return period

    def _spans(
        self, customer_id: str, period: BillingPeriod
    ) -> tuple[object, tuple[PricedSpan, ...]]:
        """As `PriceBook.spans`, and a name that all customers with these spans share."""
        begin_us, end_us = period.start * _SECOND_US, period.end * _SECOND_US
        held = self.book.subscriptions.throughout(customer_id, begin_us, end_us=end_us)
        if held is None:
            return customer_id, self.book.spans(customer_id, period)
        name = (*held, period)
        spans = self._whole.get(name)
        if spans is None:
            if len(self._whole) >= KEPT_MAX:
                self._whole = {}
            spans = self._whole[name] = self.book.spans(customer_id, period)
        return name, spans

    def _of_meter(self, customer_id: str, meter: str, *, second: int) -> _MeterParts:
        found = self._latest.get((customer_id, meter))
        if found is None or not found.start <= second < found.end:
            found = self._found_of_meter(customer_id, meter, second=second)
            if len(self._latest) >= KEPT_MAX:
                self._latest = {}
            self._latest[customer_id, meter] = found
        return found

    def _found_of_meter(self, customer_id: str, meter: str, *, second: int) -> _MeterParts:
        calendar = self.book.calendar_of(customer_id)
        assert calendar is not None, "only who has a subscription has a split period"
        period = self._period(calendar, second)
        name, spans = self._spans(customer_id, period)
        key = (name, meter, period.start)
        found = self._split.get(key)
        if found is None:
            if len(self._split) >= KEPT_MAX:
                self._split = {}
            found = self._split[key] = self._meter_parts(spans, meter, period=period)
        return found

    def _meter_parts(
        self, spans: tuple[PricedSpan, ...], meter: str, *, period: BillingPeriod
    ) -> _MeterParts:
        parts: list[Part] = []
        chains: dict[int, Chain] = {}
        for is_charged, run in groupby(spans, key=lambda priced: meter in priced.span.charges):
            stretch = list(run)
            if not is_charged:
                start, end = _borders(stretch[0], period)[0], _borders(stretch[-1], period)[1]
                parts.append(Part(start, end, period.start, UNPRICED))
                continue
            segments = [
                Segment(
                    span.start, span.end, span.charges[meter], span.plan.prorate_allowance
                )
                for span, _, _ in stretch
            ]  # fmt: skip
            rater = SplitRater(segments, period.length_us, aggregation=self._aggregation(meter))
            is_chained = carries_over(rater)
            own: list[Part] = []
            named: list[Price] = []
            for at, segment in enumerate(rater.merged):
                first = stretch[rater.part_of.index(at)]
                price = CHAINED if is_chained else self._number(
                    first, period, segment=segment, only=meter
                )  # fmt: skip
                start = period.start + segment.start // _SECOND_US
                end = period.start + segment.end // _SECOND_US
                own.append(Part(start, end, period.start, price))
                named.append(_price(first, {meter: segment.terms}))
            if is_chained:
                chain = Chain(tuple(own), rater.merged, tuple(named), period.length_us)
                chains |= dict.fromkeys((part.start for part in own), chain)
            parts += own
        return _MeterParts(parts[0].start, parts[-1].end, tuple(parts), chains)

    def _number(
        self, priced: PricedSpan, period: BillingPeriod, *, segment: Segment | None = None,
        only: str = "",
    ) -> int:  # fmt: skip
        """Position of what a span charges in a part of it, or a segment that is longer."""
        span, version = priced.span, priced.version
        if version is None:
            return UNPRICED
        start, end = (span.start, span.end) if segment is None else (segment.start, segment.end)
        key = (version.plan, version.version, start, end, period, only)
        number = self._numbers.get(key)
        if number is None:
            charges = {}
            for meter, terms in span.charges.items():
                if not only or meter == only:
                    charges[meter] = of_part(
                        terms,
                        Share(start, end, period.length_us),
                        units_too=span.plan.prorate_allowance,
                        is_level=self._aggregation(meter) in LEVELS,
                    )
            number = self._numbers[key] = len(self.prices)
            self.prices.append(_price(priced, charges))
        return number

    def _aggregation(self, meter: str) -> Aggregation:
        found = self.book.catalog.meters.get(meter)
        return Aggregation.SUM if found is None else found.aggregation


def _borders(priced: PricedSpan, period: BillingPeriod) -> tuple[int, int]:
    span = priced.span
    return period.start + span.start // _SECOND_US, period.start + span.end // _SECOND_US


def _price(priced: PricedSpan, charges: Mapping[str, ChargeTerms]) -> Price:
    assert priced.version is not None, "only what has a version is charged"
    version = priced.version
    return Price(version.plan, version.version, priced.span.plan.currency.code, charges)
