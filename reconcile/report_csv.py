"""Findings as CSV for spreadsheets, with no cell that a spreadsheet would run."""

import csv
from collections.abc import Iterable
from pathlib import Path

from reconcile.variance import Finding, text_of

_HEAD = (
    "check", "class", "severity", "tolerated", "customer_id", "meter", "group", "kind",
    "period_start", "part_start", "invoice_id", "line_id", "reference", "currency", "amount",
    "expected_amount", "got_amount", "expected_quantity", "got_quantity", "reason",
)  # fmt: skip
#: What makes a spreadsheet take a cell for a formula, in full width too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def guarded(text: str) -> str:
    """Text that begins like a formula, with an apostrophe before it. Not for numbers of ours."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_exceptions(path: Path, findings: Iterable[Finding]) -> None:
    """One row for each finding, amounts and quantities as plain decimal text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEAD)
        for each in findings:
            about = each.subject
            texts = (
                each.check, each.variance, each.severity, "yes" if each.tolerated else "no",
                about.customer_id, about.meter, about.group, about.kind, about.period_start,
                about.part_start, about.invoice_id, about.line_id, about.reference, each.currency,
            )  # fmt: skip
            numbers = (
                each.amount, each.expected_amount, each.got_amount, each.expected_quantity,
                each.got_quantity,
            )  # fmt: skip
            writer.writerow(
                [*(guarded(str(text)) for text in texts), *map(text_of, numbers),
                 guarded(each.reason)]
            )  # fmt: skip
