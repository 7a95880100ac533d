"""Lines of adjustments and credits as lines of an invoice: what others read of both. Pure."""

from collections.abc import Iterator, Sequence

from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from sinks.adjustment_rows import AdjustmentLineRow, AdjustmentRow
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow

_SECOND_US = 1_000_000
_UTC = BillingCalendar()


def exported_adjustments(
    found: Sequence[tuple[AdjustmentRow, Sequence[AdjustmentLineRow]]], *, book: PriceBook
) -> Iterator[tuple[InvoiceRow, InvoiceLineRow]]:
    """Each line with what it stands on; quantities and amounts are differences, signed.

    The invoice's id is that of the adjustment, its period the one that was adjusted.
    """
    for row, lines in found:
        calendar = book.calendar_of(row.customer_id) or _UTC
        head = InvoiceRow(
            customer_id=row.customer_id,
            period_start=row.period_start,
            period_end=calendar.period_of(row.period_start * _SECOND_US).end,
            invoice_id=row.adjustment_id,
            run_id=row.run_id,
            subscription="",
            plan=lines[0].plan if lines else "",
            currency=row.currency,
            minor_digits=row.minor_digits,
            rounding="",
            total=row.total,
            lines=row.lines,
            lines_hash=row.lines_hash,
            calculation_version=row.calculation_version,
            catalog=row.catalog,
            issued_at=row.issued_at,
        )
        for line in lines:
            yield head, _difference(line)


def _difference(line: AdjustmentLineRow) -> InvoiceLineRow:
    return InvoiceLineRow(
        customer_id=line.customer_id,
        period_start=line.period_start,
        run_id=line.run_id,
        line=line.line,
        line_id=line.line_id,
        invoice_id=line.adjustment_id,
        kind=line.kind,
        meter=line.meter,
        group=line.group,
        part_start=line.part_start,
        part_end=line.part_end,
        quantity=line.quantity_after - line.quantity_before,
        included=line.included_after - line.included_before,
        overage=line.overage_after - line.overage_before,
        tier_units=(),
        tier_unit_price=(),
        tier_flat_fee=(),
        tier_charge=(),
        exact=line.exact_after - line.exact_before,
        amount=line.amount,
        currency=line.currency,
        plan=line.plan,
        price_version=line.price_version,
        card=line.card,
        events=line.events,
        identities_hash=line.identities_hash,
    )
