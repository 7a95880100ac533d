"""Exports of invoice lines: exact, and safe to open in a spreadsheet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoice_export import (
    COLUMNS,
    FOREIGN_COLUMNS,
    Row,
    amount_text,
    guarded,
    row_of,
    stripe_line,
)
from rating_engine.exact import ONE_CHARGE, ONE_UNIT
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow

INVOICE = InvoiceRow(
    customer_id="=cmd", period_start=1_743_458_400, period_end=1_746_050_400, invoice_id="inv_1",
    run_id="r", subscription="s", plan="p", currency="JPY", minor_digits=0, rounding="half_even",
    total=-30_000, lines=1, lines_hash="", calculation_version=1, catalog="c", issued_at=1_000_000,
)  # fmt: skip
LINE = InvoiceLineRow(
    customer_id="=cmd", period_start=1_743_458_400, run_id="r", line=1, line_id="inv_1_1",
    invoice_id="inv_1", kind="charge", meter="requests", group='{"region":"eu"}',
    part_start=1_743_458_400, part_end=1_743_500_000, quantity=-(10**30) * ONE_UNIT // 10,
    included=0, overage=ONE_UNIT // 4, tier_units=(), tier_unit_price=(), tier_flat_fee=(),
    tier_charge=(), exact=-3 * ONE_CHARGE - 1, amount=-30_000, currency="JPY", plan="p",
    price_version=2, card=7, events=3, identities_hash=bytes(16),
)  # fmt: skip
_TEXTS = st.text(alphabet="=+-@'\t\r\n\uff1d\uff0b\uff0d\uff20ab ", max_size=5)


@given(texts=st.dictionaries(st.sampled_from(sorted(FOREIGN_COLUMNS)), _TEXTS))
def test_a_guarded_text_is_no_formula_and_gives_back_what_was_there(texts: dict[str, str]) -> None:
    row: Row = dict(texts)
    for name, text in guarded(row).items():
        assert isinstance(text, str)
        assert not text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b"))
        assert text.removeprefix("'") == texts[name]


def test_numbers_are_exact_and_not_guarded() -> None:
    row = guarded(row_of(INVOICE, LINE))
    assert tuple(row) == COLUMNS
    assert row["customer_id"] == "'=cmd"
    assert row["quantity"] == "-1" + "0" * 29
    assert row["exact_amount"] == "-3.000000000000000000000001"
    assert (row["amount"], row["overage"]) == ("-3", "0.25")
    assert row["period_start"] == "2025-03-31T22:00:00Z"


def test_a_stripe_line_is_in_minor_units_and_whole_quantities() -> None:
    line = stripe_line(INVOICE, LINE)
    assert (line["amount"], line["currency"]) == (-3, "jpy")
    assert line["quantity"] == -(10**29)
    assert line["metadata"]["quantity"] == "-1" + "0" * 29
    assert line["period"] == {"start": LINE.part_start, "end": LINE.part_end}
    half = stripe_line(INVOICE, LINE._replace(quantity=ONE_UNIT // 2))
    assert (half["quantity"], half["metadata"]["quantity"]) == (None, "0.5")


@pytest.mark.parametrize(
    ("amount", "digits", "text"),
    [(1, 4, "0.0001"), (10_500, 2, "1.05"), (-100, 2, "-0.01"), (30_000, 0, "3"),
     (10**40, 2, "1" + "0" * 36 + ".00"), (0, 2, "0.00")],
)  # fmt: skip
def test_an_amount_has_the_digits_of_its_currency(amount: int, digits: int, text: str) -> None:
    assert amount_text(amount, digits) == text
