"""Rows of `rate_cards` and `billing_periods`, which rated rows name: columns of plain values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rating_engine.billing_period import BillingPeriod
from rating_engine.price_book.book import PricedSpan
from rating_engine.proration import Share
from rating_engine.rate_card import CardLabel, RateCard

_ALL = Share(0, 1, 1)

#: By name, one value a row: quantities and prices are 10^-12, amounts 10^-24, times Unix seconds.
Columns = dict[str, list[Any]]


class NewCard(NamedTuple):
    """A card, its number in stored rows, and what it is for."""

    number: int
    label: CardLabel
    card: RateCard


class BilledPeriod(NamedTuple):
    """A billing period in which a customer with a subscription used something.

    `spans` may be those of another customer with the same plan: `subscription` is this one's last.
    """

    customer_id: str
    period: BillingPeriod
    spans: tuple[PricedSpan, ...]
    subscription: str


def card_columns(found: Sequence[NewCard]) -> Columns:
    """Columns of `rate_cards`; those of tiers hold a list a row."""
    labels = [each.label for each in found]
    cards = [each.card for each in found]
    shares = [card.share or _ALL for card in cards]
    return {
        "card": [each.number for each in found],
        "plan": [label.plan for label in labels],
        "price_version": [label.price_version for label in labels],
        "meter": [label.meter for label in labels],
        "group": [label.group for label in labels],
        "currency": [label.currency for label in labels],
        "carries_s": [label.carries_s for label in labels],
        "covered": [card.covered for card in cards],
        "bucket_units": [card.bucket_units for card in cards],
        "base_fee": [card.base_fee for card in cards],
        "minimum": [card.minimum for card in cards],
        "cap": [card.cap for card in cards],
        "at_zero": [card.at_zero for card in cards],
        "due_from": [share.start for share in shares],
        "due_until": [share.end for share in shares],
        "due_of": [share.period for share in shares],
        "rows_above": [[row.above for row in card.rows] for card in cards],
        "rows_charge": [[row.charge for row in card.rows] for card in cards],
        "rows_unit_price": [[row.unit_price for row in card.rows] for card in cards],
        "rows_package_units": [[row.package_units for row in card.rows] for card in cards],
        "rows_package_price": [[row.package_price for row in card.rows] for card in cards],
    }


def period_columns(found: Sequence[BilledPeriod]) -> Columns:
    """Columns of `billing_periods`, but when they were written."""
    known: dict[tuple[int, BillingPeriod], _Terms] = {}
    terms = []
    for each in found:
        name = (id(each.spans), each.period)  # most customers of a plan share them
        if name not in known:
            known[name] = _terms(each)
        terms.append(known[name])
    return {
        "customer_id": [each.customer_id for each in found],
        "period_start": [each.period.start for each in found],
        "period_end": [each.period.end for each in found],
        "subscription": [each.subscription for each in found],
        **{name: [each[at] for each in terms] for at, name in enumerate(_Terms._fields)},
    }


class _Terms(NamedTuple):
    """What a plan says of a period: that in effect at its end, and what is due of all."""

    plan: str
    price_version: int
    currency: str
    minor_digits: int
    rounding: str
    base_fee: int
    commit: int


def _terms(found: BilledPeriod) -> _Terms:
    last = next(span for span in reversed(found.spans) if span.version)
    plan, version = last.span.plan, last.version
    assert version is not None
    return _Terms(
        version.plan, version.version, plan.currency.code, plan.currency.minor_digits,
        str(plan.rounding), _due(found, "base_fee"), _due(found, "commit"),
    )  # fmt: skip


def _due(found: BilledPeriod, name: str) -> int:
    """What is due of an amount of the plan in the period, by elapsed time."""
    return sum(
        Share(span.start, span.end, found.period.length_us).of(getattr(span.plan, name))
        for span, _, _ in found.spans
    )
