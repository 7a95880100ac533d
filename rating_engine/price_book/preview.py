"""What usage would cost before it happens: included and overage, and what the period comes to.

Pure: the price book, a moment and quantities come in. What was consumed so far is an argument, so
that it may be given by a person or read from live totals. The charge of a preview is the same
difference that the events would make, `charge(after) - charge(before)`, rounded once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metering.catalog import Aggregation
from metering.errors import PermanentError
from metering.rfc3339 import written
from rating_engine.bill import Bill, bill
from rating_engine.billing_period import BillingPeriod
from rating_engine.combine import Quantity, combined
from rating_engine.money import Money, rounded
from rating_engine.period_rater import GroupKey, PeriodRater
from rating_engine.price_book.book import PriceBook, PricedSpan
from rating_engine.price_book.plan import PriceVersion
from rating_engine.price_book.run_rate import projected
from rating_engine.price_book.subscription import Subscription
from rating_engine.rater import Rated

_SECOND_US = 1_000_000

#: By meter and group, in 10^-12 units.
Quantities = Mapping[tuple[str, GroupKey], int]
#: The same for each span of the period, in order; None where nothing occurred.
Consumed = Mapping[tuple[str, GroupKey], Sequence[Quantity]]


@dataclass(frozen=True, slots=True)
class PreviewLine:
    """One meter and group. Quantities are 10^-12 units.

    `rated` is what the usage adds, `charge` that difference, rounded. With it: `included_left` is
    what is still free, `period_charge` the sum of the meter's lines on the bill. A meter that the
    plan does not charge has `is_priced` False and costs nothing.
    """

    meter: str
    group: GroupKey
    quantity: int
    rated: Rated
    charge: Money
    is_priced: bool
    consumed: int
    included_left: int
    overage_so_far: int
    period_charge: Money
    projected_quantity: int | None
    projected_charge: Money | None


@dataclass(frozen=True, slots=True)
class Preview:
    """All lines and their sum, and the period's bill with the usage, and projected.

    `projected` goes on at the rate so far until the period (or the subscription) ends; None at its
    first moment, when there is no rate.
    """

    customer_id: str
    at_us: int
    period: BillingPeriod
    subscription: Subscription
    version: PriceVersion
    lines: tuple[PreviewLine, ...]
    total: Money
    period_bill: Bill
    projected_bill: Bill | None


class Previewer:
    """Previews for one customer at one moment; reads its spans once."""

    def __init__(self, book: PriceBook, customer_id: str, *, at_us: int) -> None:
        """`at_us` is in Unix microseconds UTC.

        Raises `PermanentError` for an unknown customer and one without a subscription then.
        """
        calendar = book.calendar_of(customer_id)
        if calendar is None:
            message = f"customer: expected one with a subscription, got {customer_id!r}"
            raise PermanentError(message)
        subscription = book.subscriptions.at(customer_id, at_us)
        version = book.version_at(customer_id, at_us)
        if subscription is None or version is None:
            message = (
                f"customer: expected a subscription of {customer_id!r} at {written(at_us)}, "
                "got none at that time"
            )
            raise PermanentError(message)
        self.customer_id = customer_id
        self._at_us = at_us
        self._meters = book.catalog.meters
        self._subscription = subscription
        self._version = version
        self.period = calendar.period_of(at_us)
        self.spans = book.spans(customer_id, self.period)
        self._moment = at_us - self.period.start * _SECOND_US
        self.span_at = next(
            at for at, each in enumerate(self.spans)
            if each.span.start <= self._moment < each.span.end
        )  # fmt: skip

    def consumed_now(self, quantities: Quantities) -> Consumed:
        """Take `quantities` as consumed under the prices of the moment: what a person says."""
        return {key: self._in_span(quantity) for key, quantity in quantities.items()}

    def preview(self, consumed: Consumed, usage: Quantities) -> Preview:
        """What `usage` costs after `consumed`. Meters are those of the catalog."""
        keys = sorted({*consumed, *usage})
        before = {key: list(consumed.get(key, self._in_span(None))) for key in keys}
        after = {key: self._after(before[key], usage, key=key) for key in keys}
        outlook = {
            key: projected(
                [each.span for each in self.spans],
                quantities,
                moment=self._moment,
                aggregation=self._meters[key[0]].aggregation,
            )
            for key, quantities in after.items()
        }
        lines = tuple(
            self._line(key, before[key], after=after[key], usage=usage, outlook=outlook[key])
            for key in keys
        )
        known = {key: found for key, found in outlook.items() if found is not None}
        nothing = Money(self._version.terms.currency, 0)
        return Preview(
            customer_id=self.customer_id,
            at_us=self._at_us,
            period=self.period,
            subscription=self._subscription,
            version=self._version,
            lines=lines,
            total=sum((line.charge for line in lines), nothing),
            period_bill=self._bill(after),
            projected_bill=self._bill(known) if len(known) == len(outlook) else None,
        )

    def _bill(self, usage: Consumed) -> Bill:
        return bill(
            [each.span for each in self.spans],
            usage,
            period=self.period.length_us,
            aggregations={key: meter.aggregation for key, meter in self._meters.items()},
        )

    def _in_span(self, quantity: Quantity) -> list[Quantity]:
        return [quantity if at == self.span_at else None for at in range(len(self.spans))]

    def _after(
        self, before: Sequence[Quantity], usage: Quantities, *, key: tuple[str, GroupKey]
    ) -> list[Quantity]:
        found = list(before)
        if key in usage:
            aggregation = self._meters[key[0]].aggregation
            found[self.span_at] = combined([found[self.span_at], usage[key]], aggregation)
        return found

    def _line(
        self,
        key: tuple[str, GroupKey],
        before: Sequence[Quantity],
        *,
        after: Sequence[Quantity],
        usage: Quantities,
        outlook: Sequence[Quantity] | None,
    ) -> PreviewLine:
        meter, group = key
        aggregation = self._meters[meter].aggregation
        rating = MeterRating(
            self.spans,
            key,
            span_at=self.span_at,
            period=self.period,
            aggregation=aggregation,
        )
        old, new = rating.rate(before), rating.rate(after)
        future = None if outlook is None else rating.rate(outlook)
        rated = new.total.since(old.total)
        terms = self._version.terms

        def money(*charges: int) -> Money:
            amounts = (rounded(each, terms.currency, rounding=terms.rounding) for each in charges)
            return sum(amounts, Money(terms.currency, 0))

        return PreviewLine(
            meter=meter,
            group=group,
            quantity=usage.get(key, 0),
            rated=rated,
            charge=money(rated.charge),
            is_priced=rating.is_priced,
            consumed=combined(before, aggregation) or 0,
            included_left=new.included_left,
            overage_so_far=new.total.overage,
            period_charge=money(*new.charges),
            projected_quantity=None if outlook is None else combined(outlook, aggregation) or 0,
            projected_charge=None if future is None else money(*future.charges),
        )


@dataclass(frozen=True, slots=True)
class MeterFigures:
    """A meter over the period; `included_left` in the part that holds the moment of the preview.

    `charges` (10^-24) are those of the parts: each is a line of the bill, rounded by itself.
    """

    total: Rated
    included_left: int
    charges: tuple[int, ...]


class MeterRating:
    """Rates one meter over the spans of a period, as the bill does."""

    def __init__(
        self,
        spans: tuple[PricedSpan, ...],
        key: tuple[str, GroupKey],
        *,
        span_at: int,
        period: BillingPeriod,
        aggregation: Aggregation,
    ) -> None:
        """`span_at` is the position of the span that holds the moment of the preview."""
        meter, group = key
        self.is_priced = meter in spans[span_at].span.charges
        self._span_at = span_at
        self._rater = PeriodRater(
            [each.span for each in spans],
            meter,
            period=period.length_us,
            group=group,
            aggregation=aggregation,
        )

    def rate(self, quantities: Sequence[Quantity]) -> MeterFigures:
        """Rate quantities (10^-12 units) of all spans; what is not charged costs nothing."""
        parts = self._rater.rate(quantities)
        left = 0
        for spans, rated, rater, used_before in parts:
            if spans[0] <= self._span_at <= spans[1]:
                left = max(rater.terms.covered - used_before - rated.included, 0)
        return MeterFigures(
            self._rater.total(quantities), left, tuple(part.rated.charge for part in parts)
        )
