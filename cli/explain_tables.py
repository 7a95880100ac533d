"""An explanation as tables, from the period down to the events, for people."""

from rich.markup import escape
from rich.table import Table

from billing.explanation import ExplainedCharge, Explanation
from cli.context import console
from cli.explain_document import (
    checks,
    complete_to,
    moment_in,
    quantity_or_none,
    step_quantity,
)
from metering.rfc3339 import written
from rating_engine.exact import charge_text, price_text, quantity_text

_SECOND_US = 1_000_000


def print_explanation(found: Explanation) -> None:
    """Everything in the order in which it came about; the verdict comes last."""
    period, calendar = found.period, found.calendar
    console.print(
        f"{found.customer_id} {found.meter.key}: billing period "
        f"{written(period.start * _SECOND_US)} to {written(period.end * _SECOND_US)} "
        f"(from day {calendar.anchor_day} on, {calendar.time_zone})",
        markup=False,
    )
    _print_spans(found)
    for charge in found.charges:
        _print_charge(charge, found)
    told = complete_to(found.complete_to_ms) or "no moment yet"
    console.print(f"live totals are complete to {told}")
    if found.agrees:
        console.print("derived again from raw history: everything agrees")
    else:
        console.print(
            "derived again from raw history: NOT everything agrees. Workers may be writing; "
            "`meterline verify` tells whether totals are right",
            style="red",
            markup=False,
        )


def _print_spans(found: Explanation) -> None:
    table = Table("span", "from", "to", "subscription", "plan", "version", "effective from",
                  box=None, pad_edge=False)  # fmt: skip
    for at, each in enumerate(found.spans):
        version = each.version
        table.add_row(
            str(at), moment_in(found, each.span.start), moment_in(found, each.span.end),
            escape(each.subscription.id) if each.subscription else "none",
            version.plan if version else "-", str(version.version) if version else "-",
            written(version.effective_us) if version else "-",
        )  # fmt: skip
    console.print(table)


def _print_charge(charge: ExplainedCharge, found: Explanation) -> None:
    code = found.spans[0].span.plan.currency.code
    if charge.group:
        group = ", ".join(f"{name}={value}" for name, value in charge.group)
        console.print(f"\ngroup {group}", markup=False)
    console.print(
        "quantity by span: "
        + ", ".join(
            f"{at}: {quantity_or_none(each) or 'nothing'}"
            for at, each in enumerate(charge.quantities)
        )
        + f" ({found.meter.aggregation} of {found.meter.unit})",
        markup=False,
    )
    _print_steps(charge, code)
    _print_events(charge, code)
    for each in checks(charge):
        if each["agrees"] is None:
            console.print(f"nothing to compare: {each['check']}", markup=False)
        elif each["agrees"]:
            console.print(f"agrees: {each['check']}", markup=False)
        else:
            console.print(
                f"differs: {each['check']}: expected {each['expected']}, got {each['got']}, "
                f"difference {each['difference']}",
                style="red",
                markup=False,
            )


def _print_steps(charge: ExplainedCharge, code: str) -> None:
    table = Table("spans", "step", "tier", box=None, pad_edge=False)
    for name in ("quantity", "price", f"amount {code}"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in charge.parts:
        first, last = each.part.spans
        spans = str(first) if first == last else f"{first}-{last}"
        for step in each.steps:
            table.add_row(
                spans, str(step.kind), str(step.tier or ""), step_quantity(step),
                price_text(step.price), charge_text(step.amount),
            )  # fmt: skip
        rated = each.part.rated
        table.add_row(spans, "exact charge", "", quantity_text(rated.quantity), "",
                      charge_text(rated.charge))  # fmt: skip
        table.add_row(spans, "rounded", "", "", "", str(each.amount), style="bold")
    if charge.parts:
        console.print(table)
    else:
        console.print("no price charges this meter in the period")
    if charge.standing:
        console.print(f"of it due without any event: {charge_text(charge.standing)} {code}")


def _print_events(charge: ExplainedCharge, code: str) -> None:
    if not charge.shown:
        console.print(f"{charge.sums.events} events")
        return
    table = Table("event", "id", "occurred at", "span", box=None, pad_edge=False)
    for name in ("quantity", "before", "after", "included", "overage", f"charge {code}"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in charge.shown:
        place = each.event.place
        table.add_row(
            escape(f"{place.stream}/{place.partition}/{place.offset}/{place.index}"),
            escape(each.event.id), written(each.event.occurred_us), str(each.span),
            quantity_text(each.event.quantity), quantity_text(each.before),
            quantity_text(each.after), quantity_text(each.rated.included),
            quantity_text(each.rated.overage), charge_text(each.rated.charge),
        )  # fmt: skip
    console.print(table)
    more = charge.sums.events - len(charge.shown)
    if more:
        console.print(f"... and {more} more events (--events {charge.sums.events} shows all)")
