"""Rows of an invoice from its lines, and lines from their rows. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from billing.bills import CustomerBill
from billing.invoice_lines import (
    CALCULATION_VERSION,
    InvoiceLine,
    LineKey,
    Tiers,
    amount_of,
    document_id,
    lines_hash,
)
from billing.usage import Evidence
from sinks.billing_runs import BillingRun
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow


class Issue(NamedTuple):
    """By which run invoices are issued, and when (Unix microseconds UTC)."""

    run: BillingRun
    issued_at_us: int


def invoice_of(
    found: CustomerBill, lines: Sequence[InvoiceLine], *, issue: Issue
) -> tuple[InvoiceRow, list[InvoiceLineRow]]:
    """The rows of an invoice; its id follows from customer and period."""
    customer_id, start = found.customer_id, found.period.start
    invoice_id = document_id("inv", customer_id, start)
    last = next(each for each in reversed(found.spans) if each.version is not None)
    assert last.version is not None
    currency = found.bill.total.currency
    invoice = InvoiceRow(
        customer_id=customer_id,
        period_start=start,
        period_end=found.period.end,
        invoice_id=invoice_id,
        run_id=issue.run.run_id,
        subscription=found.subscription,
        plan=last.version.plan,
        currency=currency.code,
        minor_digits=currency.minor_digits,
        rounding=str(last.span.plan.rounding),
        total=amount_of(found.bill.total),
        lines=len(lines),
        lines_hash=lines_hash(customer_id, start, lines=lines),
        calculation_version=CALCULATION_VERSION,
        catalog=issue.run.catalog,
        issued_at=issue.issued_at_us,
    )
    return invoice, [_row(each, invoice, number=at) for at, each in enumerate(lines, 1)]


def line_of(row: InvoiceLineRow) -> InvoiceLine:
    """The line that a row holds."""
    return InvoiceLine(
        LineKey(row.kind, row.meter, row.group, row.part_start, row.part_end),
        row.quantity,
        row.included,
        row.overage,
        Tiers(row.tier_units, row.tier_unit_price, row.tier_flat_fee, row.tier_charge),
        row.exact,
        row.amount,
        row.currency,
        row.plan,
        row.price_version,
        row.card,
        Evidence(row.events, int.from_bytes(row.identities_hash, "little")),
    )


def _row(line: InvoiceLine, invoice: InvoiceRow, *, number: int) -> InvoiceLineRow:
    return InvoiceLineRow(
        invoice.customer_id,
        invoice.period_start,
        invoice.run_id,
        number,
        f"{invoice.invoice_id}_{number}",
        invoice.invoice_id,
        *line.key,
        line.quantity,
        line.included,
        line.overage,
        *line.tiers,
        line.exact,
        line.amount,
        line.currency,
        line.plan,
        line.price_version,
        line.card,
        line.evidence.events,
        line.evidence.identities_hash(),
    )
