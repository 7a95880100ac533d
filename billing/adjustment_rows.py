"""Rows of an adjustment from what differs. Pure."""

from typing import NamedTuple

from billing.adjusting import AdjustmentLine, adjustment_hash
from billing.invoice_lines import CALCULATION_VERSION, document_id
from billing.late_differences import CustomerDifference
from billing.late_usage import ChangedEvent
from sinks.adjustment_rows import AdjustmentEventRow, AdjustmentLineRow, AdjustmentRow
from sinks.billing_runs import BillingRun


class Posting(NamedTuple):
    """By which run, as what, to which period (the Unix second of its start), and when (us)."""

    run: BillingRun
    kind: str
    posted_to: int
    issued_at_us: int
    calculation_version: int = CALCULATION_VERSION


def posted(
    found: CustomerDifference, posting: Posting
) -> tuple[AdjustmentRow, list[AdjustmentLineRow], list[AdjustmentEventRow]]:
    """The rows of an adjustment; its id follows from customer, period and run."""
    invoice, run = found.invoice, posting.run
    row = AdjustmentRow(
        customer_id=invoice.customer_id,
        period_start=invoice.period_start,
        run_id=run.run_id,
        adjustment_id=document_id("adj", invoice.customer_id, invoice.period_start, run.run_id),
        invoice_id=invoice.invoice_id,
        kind=posting.kind,
        posted_to=posting.posted_to,
        currency=invoice.currency,
        minor_digits=invoice.minor_digits,
        total=found.total,
        lines=len(found.lines),
        lines_hash=adjustment_hash(invoice.customer_id, invoice.period_start, lines=found.lines),
        calculation_version=posting.calculation_version,
        catalog=run.catalog,
        actor=run.actor,
        reason=run.reason,
        issued_at=posting.issued_at_us,
    )
    lines = [_line(line, row, number=at) for at, line in enumerate(found.lines, 1)]
    events = [
        _event(event, row, number=at)
        for at, line in enumerate(found.lines, 1)
        for event in found.events.get(line.key, ())
    ]
    return row, lines, events


def _line(line: AdjustmentLine, row: AdjustmentRow, *, number: int) -> AdjustmentLineRow:
    before, after, prices = line.before, line.after, line.prices
    return AdjustmentLineRow(
        row.customer_id,
        row.period_start,
        row.run_id,
        number,
        f"{row.adjustment_id}_{number}",
        row.adjustment_id,
        *line.key,
        before.quantity,
        after.quantity,
        before.included,
        after.included,
        before.overage,
        after.overage,
        before.exact,
        after.exact,
        before.amount,
        after.amount,
        line.amount,
        prices.currency,
        prices.plan,
        prices.price_version,
        prices.card,
        line.evidence.events,
        line.evidence.identities_hash(),
    )


def _event(event: ChangedEvent, row: AdjustmentRow, *, number: int) -> AdjustmentEventRow:
    return AdjustmentEventRow(
        row.customer_id,
        row.period_start,
        row.run_id,
        number,
        event.stream,
        event.partition,
        event.offset,
        event.index,
        "added" if event.is_added else "retracted",
        event.id,
        event.identity,
        event.occurred_us,
        event.record_ms,
        event.quantity,
    )
