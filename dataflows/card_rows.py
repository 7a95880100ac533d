"""Rows of `rate_cards` and `billing_periods`, which rated rows name."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflows.pricing import BilledPeriod
from dataflows.rating_columns import words_of
from metering.batch import CHARGE_SCALE, QUANTITY_SCALE
from metering.decimals import decimal256_of_words
from rating_engine.proration import Share
from rating_engine.rate_card import CardLabel, RateCard

_ALL = Share(0, 1, 1)


class NewCard(NamedTuple):
    """A card, its number in stored rows, and what it is for."""

    number: int
    label: CardLabel
    card: RateCard


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
        return pa.ListArray.from_arrays(ends, _decimals(values, scale))

    no_cap = pa.array([card.cap is None for card in cards])
    cap = _decimals([card.cap or 0 for card in cards], CHARGE_SCALE)
    return pa.table(
        {
            "card": pa.array([each.number for each in found], pa.uint64()),
            "plan": pa.array([label.plan for label in labels], pa.string()),
            "price_version": pa.array([label.price_version for label in labels], pa.uint32()),
            "meter": pa.array([label.meter for label in labels], pa.string()),
            "group": pa.array([label.group for label in labels], pa.string()),
            "currency": pa.array([label.currency for label in labels], pa.string()),
            "carries_s": pa.array([label.carries_s for label in labels], pa.uint32()),
            "covered": _decimals([card.covered for card in cards], QUANTITY_SCALE),
            "bucket_units": _decimals([card.bucket_units for card in cards], QUANTITY_SCALE),
            "base_fee": _decimals([card.base_fee for card in cards], CHARGE_SCALE),
            "minimum": _decimals([card.minimum for card in cards], CHARGE_SCALE),
            "cap": pc.if_else(no_cap, pa.scalar(None, cap.type), cap),
            "at_zero": _decimals([card.at_zero for card in cards], CHARGE_SCALE),
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


def period_table(found: Sequence[BilledPeriod]) -> pa.Table | None:
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
            "updated_at": pa.array([datetime.now(UTC)] * len(found), pa.timestamp("us", tz="UTC")),
            "base_fee": _shares(found, "base_fee"),
            "commit": _shares(found, "commit"),
        }
    )


def _shares(found: Sequence[BilledPeriod], name: str) -> pa.Array:
    """What is due of an amount of the plan in each period, by elapsed time."""
    return _decimals(
        [
            sum(
                Share(span.start, span.end, each.period.length_us).of(getattr(span.plan, name))
                for span, _, _ in each.spans
            )
            for each in found
        ],
        CHARGE_SCALE,
    )


def _decimals(values: Sequence[int], scale: int) -> pa.Array:
    return decimal256_of_words(words_of(values), scale=scale)
