"""Posted adjustments checked: their hash and total, and whether each begins where billing stood."""

from collections.abc import Iterable, Mapping, Sequence

from billing.adjusting import AdjustmentLine, Billed, Prices, adjustment_hash, billed_so_far
from billing.invoice_lines import LineKey
from billing.usage import Evidence
from sinks.adjustment_rows import AdjustmentLineRow, AdjustmentRow
from sinks.invoice_rows import InvoiceLineRow

#: Kinds of adjustments that are differences of bills.
LATE_USAGE, RERATING = "late_usage", "rerating"


def adjustment_line(row: AdjustmentLineRow) -> AdjustmentLine:
    """The line that a row holds."""
    return AdjustmentLine(
        LineKey(row.kind, row.meter, row.group, row.part_start, row.part_end),
        Billed(
            row.quantity_before,
            row.included_before,
            row.overage_before,
            row.exact_before,
            row.amount_before,
        ),
        Billed(
            row.quantity_after,
            row.included_after,
            row.overage_after,
            row.exact_after,
            row.amount_after,
        ),
        Prices(row.currency, row.plan, row.price_version, row.card),
        Evidence(row.events, int.from_bytes(row.identities_hash, "little")),
    )


def changed_adjustments(
    adjustments: Sequence[AdjustmentRow], rows: Sequence[AdjustmentLineRow]
) -> list[tuple[AdjustmentRow, str, str, str]]:
    """What differs from how it was posted: adjustment, what, as posted and as it stands. Pure."""
    lines: dict[str, list[AdjustmentLineRow]] = {}
    for row in rows:
        lines.setdefault(row.adjustment_id, []).append(row)
    return [
        (each, what, posted, stands)
        for each in adjustments
        for what, (posted, stands) in _sides(each, lines.get(each.adjustment_id, [])).items()
        if posted != stands
    ]


def broken_chains(
    adjustments: Sequence[AdjustmentRow],
    rows: Sequence[AdjustmentLineRow],
    *,
    invoices: Iterable[InvoiceLineRow],
) -> list[tuple[AdjustmentRow, str, str, str]]:
    """Adjustments that began with other than what was billed by then: one posted it twice. Pure.

    `adjustments` in order of time. In the same columns as `changed_adjustments`.
    """
    owners = {each.adjustment_id: (each.customer_id, each.period_start) for each in adjustments}
    lines: dict[str, list[AdjustmentLineRow]] = {}
    for row in rows:
        lines.setdefault(row.adjustment_id, []).append(row)
    issued: dict[tuple[str, int], list[InvoiceLineRow]] = {}
    for own in invoices:
        issued.setdefault((own.customer_id, own.period_start), []).append(own)
    billed = {
        owner: dict(billed_so_far(issued.get(owner, ()), ()).lines) for owner in owners.values()
    }
    found = []
    for each in adjustments:
        so_far = billed[owners[each.adjustment_id]]
        for row in lines.get(each.adjustment_id, ()):
            line = adjustment_line(row)
            before = so_far.get(line.key, Billed())
            if line.before != before:
                what = f"{line.key.kind} {line.key.meter}: billed before line {row.line} of"
                found.append((each, what, str(line.before.amount), str(before.amount)))
            so_far[line.key] = line.after
    return found


def _sides(
    adjustment: AdjustmentRow, rows: Sequence[AdjustmentLineRow]
) -> Mapping[str, tuple[str, str]]:
    lines = [adjustment_line(row) for row in rows]
    stands = adjustment_hash(adjustment.customer_id, adjustment.period_start, lines=lines)
    amounts = [row.amount for row in rows]
    differences = [line.amount for line in lines]
    return {
        "hash of the adjustment's lines": (adjustment.lines_hash, stands),
        "total of the adjustment": (str(adjustment.total), str(sum(amounts))),
        "amounts of the adjustment": (str(differences), str(amounts)),
    }
