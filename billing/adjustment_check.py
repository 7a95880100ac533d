"""Posted adjustments checked: whether their lines still give the hash and the total."""

from collections.abc import Mapping, Sequence

from billing.adjusting import AdjustmentLine, Billed, Prices, adjustment_hash
from billing.invoice_lines import LineKey
from billing.usage import Evidence
from sinks.adjustment_rows import AdjustmentLineRow, AdjustmentRow

#: Kind of what `posted` writes; others are vouched for by who posts them.
LATE_USAGE = "late_usage"


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
    """What differs of late usage: adjustment, what, as posted and as it stands. Pure."""
    lines: dict[str, list[AdjustmentLineRow]] = {}
    for row in rows:
        lines.setdefault(row.adjustment_id, []).append(row)
    found = []
    for each in adjustments:
        if each.kind == LATE_USAGE:
            own = lines.get(each.adjustment_id, [])
            found += [
                (each, what, posted, stands)
                for what, (posted, stands) in _sides(each, own).items()
                if posted != stands
            ]
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
