"""The report and the exceptions: nothing from outside becomes markup or a formula."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconcile.report_csv import write_exceptions
from reconcile.report_html import html_of
from reconcile.result import Comparison, InputFile, Reconciliation
from reconcile.variance import Check, Finding, Subject, VarianceClass

EVIL = '<img src=x onerror=alert("1")>&'
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def finding(text: str, amount: int) -> Finding:
    return Finding(
        check=Check.EXPORT, variance=VarianceClass.MANUAL_EDIT, currency="USD", amount=amount,
        reason=text, expected_quantity=1, got_quantity=2,
        subject=Subject(
            customer_id=text, meter=text, group=text, kind=text, period_start=text,
            part_start=text, invoice_id=text, line_id=text, reference=text,
        ),
    )  # fmt: skip


def test_a_report_shows_what_came_from_outside_as_text() -> None:
    run = Reconciliation(EVIL, EVIL, datetime(2026, 7, 1, tzinfo=UTC))
    run.findings = [finding(EVIL, 5), finding(EVIL, -7)]
    run.comparisons = [Comparison(Check.EXPORT, "USD", 10, 8, -2)]
    run.checks, run.notes = [Check.EXPORT], [EVIL]
    run.inputs = [InputFile("export", EVIL, "00", 1)]
    run.counts = {EVIL: 1}
    page = html_of(run)
    assert "<img" not in page
    assert "&lt;img" in page
    assert 'alert("1")' not in page


@pytest.mark.parametrize("first", _FORMULAS)
def test_no_exception_is_a_formula(tmp_path: Path, first: str) -> None:
    path = tmp_path / "exceptions.csv"
    write_exceptions(path, [finding(f'{first}HYPERLINK("x")', -7 * 10**12)])
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    for name, text in row.items():
        if not name.endswith(("amount", "quantity")):
            assert not text.startswith(_FORMULAS), name
    assert row["amount"] == "-7"
