"""Lines of issued invoices as others read them: one row each, texts and whole numbers. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

import orjson

from rating_engine.exact import charge_text, quantity_text
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow

_EXACT = Context(prec=80)
_AMOUNT_DIGITS = 4
#: What each row holds, in this order. Those that reconciliation needs come first.
COLUMNS = (
    "customer_id", "meter", "period_start", "period_end", "quantity", "amount", "currency",
    "invoice_id", "line_id", "price_version", "line", "kind", "group", "part_start", "part_end",
    "included", "overage", "exact_amount", "plan", "subscription", "card", "events",
    "identities_hash", "calculation_version", "run_id", "issued_at",
)  # fmt: skip
#: Columns of which a text is somebody else's; the others are ours, and cannot be a formula.
FOREIGN_COLUMNS = frozenset(
    {"customer_id", "meter", "group", "plan", "subscription", "invoice_id", "line_id", "run_id"}
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")

Row = dict[str, str | int]


def exported(
    invoices: Sequence[InvoiceRow], lines: Sequence[InvoiceLineRow]
) -> Iterator[tuple[InvoiceRow, InvoiceLineRow]]:
    """Each line with its invoice."""
    heads = {(each.customer_id, each.period_start): each for each in invoices}
    for line in lines:
        yield heads[line.customer_id, line.period_start], line


def row_of(invoice: InvoiceRow, line: InvoiceLineRow) -> Row:
    """One row; amounts and quantities are decimal text, moments RFC 3339 in UTC."""
    values = (
        line.customer_id, line.meter, _moment(invoice.period_start), _moment(invoice.period_end),
        quantity_text(line.quantity), amount_text(line.amount, invoice.minor_digits),
        invoice.currency, invoice.invoice_id, line.line_id, line.price_version, line.line,
        line.kind, line.group, _moment(line.part_start), _moment(line.part_end),
        quantity_text(line.included), quantity_text(line.overage), charge_text(line.exact),
        line.plan, invoice.subscription, line.card, line.events, line.identities_hash.hex(),
        invoice.calculation_version, invoice.run_id, _moment(invoice.issued_at // 1_000_000),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def guarded(row: Row) -> Row:
    """`row` for a spreadsheet: a text that it might take for a formula gets an apostrophe before.

    So does one that begins with an apostrophe, so that taking one away gives back what was there.
    """
    return {
        name: f"'{value}"
        if name in FOREIGN_COLUMNS and isinstance(value, str) and value.startswith(_FORMULA)
        else value
        for name, value in row.items()
    }


def stripe_line(invoice: InvoiceRow, line: InvoiceLineRow) -> dict[str, Any]:
    """One line in the shape of Stripe's invoice line items.

    The amount is in minor units. Stripe's quantity is a whole number: null where ours is not; the
    exact one stands in the metadata.
    """
    quantity = quantity_text(line.quantity)
    minor = line.amount // 10 ** (_AMOUNT_DIGITS - invoice.minor_digits)
    return {
        "id": line.line_id,
        "object": "line_item",
        "amount": minor,
        "currency": invoice.currency.lower(),
        "description": " ".join(filter(None, (line.meter or line.kind, _shown(line.group)))),
        "invoice": invoice.invoice_id,
        "period": {"start": line.part_start, "end": line.part_end},
        "quantity": int(quantity) if "." not in quantity else None,
        "metadata": {
            "customer_id": line.customer_id,
            "meter": line.meter,
            "kind": line.kind,
            "group": line.group,
            "quantity": quantity,
            "price_version": str(line.price_version),
            "plan": line.plan,
            "invoice_id": invoice.invoice_id,
            "line_id": line.line_id,
            "period_start": str(invoice.period_start),
            "period_end": str(invoice.period_end),
            "run_id": invoice.run_id,
        },
    }


def amount_text(amount: int, minor_digits: int) -> str:
    """10^-4 of a currency's unit as a decimal with its minor digits: `0.50`."""
    value = _EXACT.scaleb(Decimal(amount), -_AMOUNT_DIGITS)
    return f"{value.quantize(Decimal(1).scaleb(-minor_digits), context=_EXACT)}"


def _shown(group: str) -> str:
    pairs: Mapping[str, str] = orjson.loads(group) if group else {}
    return ", ".join(f"{name}={value}" for name, value in pairs.items() if value)


def _moment(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"
