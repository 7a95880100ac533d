"""An explanation as a JSON document: every quantity and amount is decimal text."""

from collections.abc import Iterator
from typing import Any

from billing.event_charges import EventCharge
from billing.explanation import ExplainedCharge, ExplainedPart, Explanation
from metering.rfc3339 import written
from rating_engine.combine import Quantity
from rating_engine.exact import ONE_UNIT, charge_text, price_text, quantity_text
from rating_engine.models.model import Step, StepKind
from rating_engine.price_book.book import PricedSpan

_SECOND_US = 1_000_000
_MILLISECOND_US = 1000


def explanation_document(found: Explanation, catalog_hash: str) -> dict[str, Any]:
    """The explanation for programs."""
    return {
        "customer_id": found.customer_id,
        "meter": found.meter.key,
        "unit": found.meter.unit,
        "aggregation": str(found.meter.aggregation),
        "currency": found.spans[0].span.plan.currency.code,
        "period": {
            "start": written(found.period.start * _SECOND_US),
            "end": written(found.period.end * _SECOND_US),
            "anchor_day": found.calendar.anchor_day,
            "time_zone": found.calendar.time_zone,
        },
        "spans": [_span(each, found) for each in found.spans],
        "charges": [_charge(each, found) for each in found.charges],
        "agrees": found.agrees,
        "complete_to": complete_to(found.complete_to_ms),
        "catalog_hash": catalog_hash,
    }


def complete_to(moment_ms: int) -> str | None:
    """To which moment live totals are complete; None before the first event."""
    return written(moment_ms * _MILLISECOND_US) if moment_ms > 0 else None


def moment_in(found: Explanation, offset_us: int) -> str:
    """A moment of the period as RFC 3339 in UTC."""
    return written(found.period.start * _SECOND_US + offset_us)


def checks(charge: ExplainedCharge) -> Iterator[dict[str, Any]]:
    """What was derived again, what was found, and whether both agree (None: nothing to compare)."""
    sums = charge.sums
    got = charge.standing + sums.charge
    yield {
        "check": "standing charge + event charges = period charge",
        "agrees": charge.events_agree,
        "expected": charge_text(charge.charge),
        "got": charge_text(got),
        "difference": charge_text(got - charge.charge),
    }
    yield {
        "check": "live totals = raw history, in every span",
        "agrees": charge.live_agrees,
        "expected": [quantity_or_none(each) for each in charge.quantities],
        "got": [quantity_or_none(each) for each in charge.live],
        "difference": [
            quantity_text((live or 0) - (raw or 0))
            for live, raw in zip(charge.live, charge.quantities, strict=True)
        ],
    }
    yield {
        "check": "stored event charges = derived ones",
        "agrees": charge.stored_agrees,
        "events_stored": sums.events_stored,
        "expected": charge_text(sums.derived),
        "got": charge_text(sums.stored),
        "difference": charge_text(sums.stored - sums.derived),
    }


def quantity_or_none(quantity: Quantity) -> str | None:
    """None where nothing occurred."""
    return None if quantity is None else quantity_text(quantity)


def step_quantity(step: Step) -> str:
    """Units of a step; packages are counted whole."""
    is_count = step.kind is StepKind.PACKAGES
    return quantity_text(step.quantity * ONE_UNIT if is_count else step.quantity)


def _span(each: PricedSpan, found: Explanation) -> dict[str, Any]:
    version = each.version
    return {
        "start": moment_in(found, each.span.start),
        "end": moment_in(found, each.span.end),
        "subscription": each.subscription.id if each.subscription else None,
        "plan": version.plan if version else None,
        "price_version": version.version if version else None,
        "effective_from": written(version.effective_us) if version else None,
        "prorate_allowance": each.span.plan.prorate_allowance,
        "is_priced": found.meter.key in each.span.charges,
    }


def _charge(charge: ExplainedCharge, found: Explanation) -> dict[str, Any]:
    return {
        "group": dict(charge.group),
        "quantities": [quantity_or_none(each) for each in charge.quantities],
        "parts": [_part(each, found) for each in charge.parts],
        "standing_charge": charge_text(charge.standing),
        "exact_charge": charge_text(charge.charge),
        "charge": str(charge.amount),
        "events": charge.sums.events,
        "events_shown": [_event(each) for each in charge.shown],
        "checks": list(checks(charge)),
        "agrees": charge.agrees,
    }


def _part(each: ExplainedPart, found: Explanation) -> dict[str, Any]:
    part = each.part
    first, last = part.spans
    terms = part.rater.terms
    return {
        "spans": [first, last],
        "start": moment_in(found, found.spans[first].span.start),
        "end": moment_in(found, found.spans[last].span.end),
        "quantity": quantity_text(part.rated.quantity),
        "allowance": quantity_text(terms.covered),
        "used_before": quantity_text(part.used_before),
        "included": quantity_text(part.rated.included),
        "overage": quantity_text(part.rated.overage),
        "steps": [
            {
                "step": str(step.kind),
                "tier": step.tier,
                "quantity": step_quantity(step),
                "price": price_text(step.price),
                "amount": charge_text(step.amount),
            }
            for step in each.steps
        ],
        "exact_charge": charge_text(part.rated.charge),
        "charge": str(each.amount),
        "rounding": str(found.spans[first].span.plan.rounding),
    }


def _event(each: EventCharge) -> dict[str, Any]:
    event = each.event
    stored = event.stored
    return {
        "stream": event.place.stream,
        "partition": event.place.partition,
        "offset": event.place.offset,
        "index": event.place.index,
        "id": event.id,
        "occurred_at": written(event.occurred_us),
        "arrived_at": written(event.record_ms * _MILLISECOND_US),
        "span": each.span,
        "quantity": quantity_text(event.quantity),
        "counted": event.counted,
        "cumulative_before": quantity_text(each.before),
        "cumulative_after": quantity_text(each.after),
        "included": quantity_text(each.rated.included),
        "overage": quantity_text(each.rated.overage),
        "charge": charge_text(each.rated.charge),
        "stored": None if stored is None else {
            "cumulative_before": quantity_text(stored.cumulative_before),
            "included": quantity_text(stored.included),
            "overage": quantity_text(stored.overage),
            "charge": charge_text(stored.charge),
            "price_version": stored.price_version,
            "catalog": stored.catalog,
        },
    }  # fmt: skip
