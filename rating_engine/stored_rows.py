"""Rows of `rate_cards` and `billing_periods`, which rated rows name."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.batch import CHARGE_SCALE, QUANTITY_SCALE
from metering.decimals import decimal256_of
from rating_engine.billing_period import BillingPeriod
from rating_engine.price_book.book import PricedSpan
from rating_engine.proration import Share
from rating_engine.rate_card import CardLabel, RateCard

_ALL = Share(0, 1, 1)


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


def card_table(found: Sequence[NewCard]) -> pa.Table | None:
    """Rows of `rate_cards`, or None when there are none."""
    if not found:
        return None
    labels = [each.label for each in found]
    cards = [each.card for each in found]
    rows = [row for card in cards for row in card.rows]
    shares = [card.share or _ALL for card in cards]
    ends = pa.array(np.cumsum([0, *(len(card.rows) for card in cards)]), pa.int32())

    def lists(values: list[int], scale: int) -> pa.Array:
        return pa.ListArray.from_arrays(ends, decimal256_of(values, scale=scale))

    no_cap = pa.array([card.cap is None for card in cards])
    cap = decimal256_of([card.cap or 0 for card in cards], scale=CHARGE_SCALE)
    return pa.table(
        {
            "card": pa.array([each.number for each in found], pa.uint64()),
            "plan": pa.array([label.plan for label in labels], pa.string()),
            "price_version": pa.array([label.price_version for label in labels], pa.uint32()),
            "meter": pa.array([label.meter for label in labels], pa.string()),
            "group": pa.array([label.group for label in labels], pa.string()),
            "currency": pa.array([label.currency for label in labels], pa.string()),
            "carries_s": pa.array([label.carries_s for label in labels], pa.uint32()),
            "covered": decimal256_of([card.covered for card in cards], scale=QUANTITY_SCALE),
            "bucket_units": decimal256_of(
                [card.bucket_units for card in cards], scale=QUANTITY_SCALE
            ),
            "base_fee": decimal256_of([card.base_fee for card in cards], scale=CHARGE_SCALE),
            "minimum": decimal256_of([card.minimum for card in cards], scale=CHARGE_SCALE),
            "cap": pc.if_else(no_cap, pa.scalar(None, cap.type), cap),
            "at_zero": decimal256_of([card.at_zero for card in cards], scale=CHARGE_SCALE),
            "due_from": pa.array([share.start for share in shares], pa.uint64()),
            "due_until": pa.array([share.end for share in shares], pa.uint64()),
            "due_of": pa.array([share.period for share in shares], pa.uint64()),
            "rows_above": lists([row.above for row in rows], QUANTITY_SCALE),
            "rows_charge": lists([row.charge for row in rows], CHARGE_SCALE),
            "rows_unit_price": lists([row.unit_price for row in rows], QUANTITY_SCALE),
            "rows_package_units": lists([row.package_units for row in rows], QUANTITY_SCALE),
            "rows_package_price": lists([row.package_price for row in rows], CHARGE_SCALE),
        }
    )


def period_table(found: Sequence[BilledPeriod], updated_at: datetime) -> pa.Table | None:
    """Rows of `billing_periods`, or None when there are none."""
    if not found:
        return None
    last = [next(span for span in reversed(each.spans) if span.version) for each in found]
    terms = [each.span.plan for each in last]
    return pa.table(
        {
            "customer_id": pa.array([each.customer_id for each in found], pa.string()),
            "period_start": pa.array([each.period.start for each in found], pa.uint32()),
            "period_end": pa.array([each.period.end for each in found], pa.uint32()),
            "subscription": pa.array([each.subscription for each in found], pa.string()),
            "plan": pa.array([each.version.plan for each in last if each.version], pa.string()),
            "price_version": pa.array(
                [each.version.version for each in last if each.version], pa.uint32()
            ),
            "currency": pa.array([plan.currency.code for plan in terms], pa.string()),
            "minor_digits": pa.array([plan.currency.minor_digits for plan in terms], pa.uint8()),
            "rounding": pa.array([str(plan.rounding) for plan in terms], pa.string()),
            "updated_at": pa.array([updated_at] * len(found), pa.timestamp("us", tz="UTC")),
            "base_fee": _shares(found, "base_fee"),
            "commit": _shares(found, "commit"),
        }
    )


def _shares(found: Sequence[BilledPeriod], name: str) -> pa.Array:
    """What is due of an amount of the plan in each period, by elapsed time."""
    return decimal256_of(
        [
            sum(
                Share(span.start, span.end, each.period.length_us).of(getattr(span.plan, name))
                for span, _, _ in each.spans
            )
            for each in found
        ],
        scale=CHARGE_SCALE,
    )
