"""The price book: plans and subscriptions together, asked by customer and time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from metering.catalog import Catalog
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.period_rater import Span
from rating_engine.price_book.plan import Plan, PriceVersion
from rating_engine.price_book.subscription import Subscription, Subscriptions
from rating_engine.split import Segment
from rating_engine.terms import PlanTerms

_SECOND_US = 1_000_000


class PricedSpan(NamedTuple):
    """A stretch of a billing period, and what it is priced by.

    Both are None for a stretch between two subscriptions: usage in it is charged nothing.
    """

    span: Span
    subscription: Subscription | None
    version: PriceVersion | None


@dataclass(frozen=True, slots=True, eq=False)
class PriceBook:
    """All of the catalog that was loaded and checked together.

    `catalog` has the meters and what else the stream needs; `content_hash` is the SHA-256 of
    everything, and what rated rows name.
    """

    catalog: Catalog
    plans: dict[str, Plan]
    subscriptions: Subscriptions
    content_hash: str

    def calendar_of(self, customer_id: str) -> BillingCalendar | None:
        """A customer's billing calendar; None for one that never had a subscription."""
        return self.subscriptions.calendar_of(customer_id)

    def version_at(self, customer_id: str, moment_us: int) -> PriceVersion | None:
        """Find what a customer's usage at a moment (Unix microseconds UTC) is priced by."""
        subscription = self.subscriptions.at(customer_id, moment_us)
        return None if subscription is None else self._version(subscription, moment_us)

    def versions(self) -> Iterator[PriceVersion]:
        """Every version of every plan."""
        for plan in self.plans.values():
            yield from plan.versions

    def spans(self, customer_id: str, period: BillingPeriod) -> tuple[PricedSpan, ...]:
        """What prices a customer's `period`, in order and without a gap, for `bill` and segments.

        From where the first subscription begins to where the last one ends within the period;
        none where there is none. Usage outside is metered and charged nothing.
        """
        start_us, end_us = period.start * _SECOND_US, period.end * _SECOND_US
        found: list[PricedSpan] = []
        for subscription in self.subscriptions.between(customer_id, start_us, end_us=end_us):
            low = max(subscription.from_us, start_us) - start_us
            high = min(subscription.until_us, end_us) - start_us
            if found and found[-1].span.end < low:
                found.append(_nothing(found[-1].span, low))
            for version, begins_us, ends_us in self._versions(
                subscription, low + start_us, until_us=high + start_us
            ):
                span = Span(
                    begins_us - start_us, ends_us - start_us, version.terms, version.charges
                )
                found.append(PricedSpan(span, subscription, version))
        return tuple(found)

    def _version(self, subscription: Subscription, moment_us: int) -> PriceVersion | None:
        plan = self.plans[subscription.plan]
        if subscription.pinned:
            return plan.version(subscription.pinned)
        return plan.version_at(moment_us)

    def _versions(
        self, subscription: Subscription, from_us: int, *, until_us: int
    ) -> Iterator[tuple[PriceVersion, int, int]]:
        """Versions in effect for a subscription in a stretch of time, each with its own part."""
        moments = [from_us]
        if not subscription.pinned:
            moments += [
                version.effective_us
                for version in self.plans[subscription.plan].versions
                if from_us < version.effective_us < until_us
            ]
        for begins_us, ends_us in zip(moments, [*moments[1:], until_us], strict=True):
            version = self._version(subscription, begins_us)
            assert version is not None, subscription  # a subscription begins where prices do
            yield version, begins_us, ends_us


def segments_around(
    spans: tuple[PricedSpan, ...], meter: str, *, moment: int
) -> tuple[list[Segment], int]:
    """The segments of `meter` that are rated together with a moment, and the moment's position.

    `moment` is in microseconds since the period's start. Spans that do not charge the meter cut
    what is rated together; none where it is not charged at that moment.
    """
    segments: list[Segment] = []
    position = -1
    for span, _, _ in spans:
        terms = span.charges.get(meter)
        if terms is None:
            if position >= 0:
                break
            segments = []
            continue
        if span.start <= moment < span.end:
            position = len(segments)
        segments.append(Segment(span.start, span.end, terms, span.plan.prorate_allowance))
    return (segments, position) if position >= 0 else ([], -1)


def _nothing(before: Span, end: int) -> PricedSpan:
    terms = PlanTerms(before.plan.currency, rounding=before.plan.rounding)
    return PricedSpan(Span(before.end, end, terms, {}), None, None)
