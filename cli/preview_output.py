"""A preview as a JSON document (numbers are decimal text) and as a table for people."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.context import console
from cli.explain_document import complete_to
from metering.catalog import Meter
from metering.rfc3339 import written
from rating_engine.bill import Bill
from rating_engine.exact import charge_text, quantity_text
from rating_engine.money import Money
from rating_engine.price_book.preview import Preview, PreviewLine

_SECOND_US = 1_000_000


def preview_document(
    found: Preview, catalog_hash: str, *, complete_to_ms: int | None
) -> dict[str, Any]:
    """The preview for programs; every quantity and amount is text.

    `complete_to_ms` is that of the live totals it is based on; None where a person said them.
    """
    return {
        "customer_id": found.customer_id,
        "currency": found.total.currency.code,
        "at": written(found.at_us),
        "period": {
            "start": written(found.period.start * _SECOND_US),
            "end": written(found.period.end * _SECOND_US),
        },
        "subscription": found.subscription.id,
        "lines": [_line(line, found) for line in found.lines],
        "total": str(found.total),
        "period_so_far": _bill(found.period_bill),
        "projected": None if found.projected_bill is None else _bill(found.projected_bill),
        "consumed_from": "consumed" if complete_to_ms is None else "live_totals",
        "complete_to": complete_to(complete_to_ms or 0),
        "catalog_hash": catalog_hash,
    }


def print_preview(
    found: Preview, meters: Mapping[str, Meter], *, complete_to_ms: int | None
) -> None:
    """The preview for people."""
    code = found.total.currency.code
    version = found.version
    console.print(
        f"{escape(found.customer_id)} at {written(found.at_us)}: plan {version.plan}, "
        f"price version {version.version}, subscription {escape(found.subscription.id)}"
    )
    columns = (
        "meter", "group", "usage", "included", "overage", f"charge {code}", "included left",
        "overage so far", f"period so far {code}", f"projected {code}",
    )  # fmt: skip
    table = Table(*columns, box=None, pad_edge=False)
    for line in found.lines:
        unit = meters[line.meter].unit
        table.add_row(
            escape(line.meter), escape(", ".join(f"{name}={value}" for name, value in line.group)),
            escape(f"{quantity_text(line.quantity)} {unit}"), quantity_text(line.rated.included),
            quantity_text(line.rated.overage),
            str(line.charge) if line.is_priced else "not charged",
            quantity_text(line.included_left), quantity_text(line.overage_so_far),
            str(line.period_charge), _or_dash(line.projected_charge),
        )  # fmt: skip
    console.print(table)
    projection = None if found.projected_bill is None else found.projected_bill.total
    console.print(
        f"this usage {found.total} {code}; the period so far {found.period_bill.total} {code}, "
        f"projected {_or_dash(projection)} {code}, fees of the plan included"
    )
    if complete_to_ms is not None:
        told = complete_to(complete_to_ms) or "no moment yet: nothing was counted"
        console.print(f"used so far is what live totals say, which are complete to {told}")


def _line(line: PreviewLine, found: Preview) -> dict[str, Any]:
    return {
        "meter": line.meter,
        "group": dict(line.group),
        "quantity": quantity_text(line.quantity),
        "included": quantity_text(line.rated.included),
        "overage": quantity_text(line.rated.overage),
        "charge": str(line.charge),
        "plan": found.version.plan,
        "price_version": found.version.version,
        "is_priced": line.is_priced,
        "exact_charge": charge_text(line.rated.charge),
        "consumed": quantity_text(line.consumed),
        "included_left": quantity_text(line.included_left),
        "overage_so_far": quantity_text(line.overage_so_far),
        "period_charge": str(line.period_charge),
        "projected_quantity": (
            None if line.projected_quantity is None else quantity_text(line.projected_quantity)
        ),
        "projected_charge": _or_none(line.projected_charge),
    }


def _bill(bill: Bill) -> dict[str, Any]:
    """What the whole period comes to, with base fee and true-up."""
    kinds = {str(line.kind): Money(bill.total.currency, 0) for line in bill.lines}
    for line in bill.lines:
        kinds[str(line.kind)] += line.amount
    return {"total": str(bill.total), **{kind: str(amount) for kind, amount in kinds.items()}}


def _or_none(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)


def _or_dash(amount: Money | None) -> str:
    return "-" if amount is None else str(amount)
