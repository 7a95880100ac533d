"""What `meterline invoices export` writes is read back as it was, however it begins."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from billing.invoice_export import guarded
from reconcile.files import read_text_frame
from reconcile.mapping import GENERIC

BEGINNINGS = ("=", "+", "-", "@", "'", "''", "'=", "\uff1d", "\uff20", "", "a'")


@given(
    begins=st.sampled_from(BEGINNINGS), rest=st.text("abc1'=-", max_size=4),
    amount=st.sampled_from(("-5.00", "0.25", "1")),
)  # fmt: skip
def test_a_guarded_text_loses_its_guard_and_a_number_nothing(
    begins: str, rest: str, amount: str
) -> None:
    name = f"{begins}{rest}x"
    row = guarded({"customer_id": name, "meter": "api", "amount": amount, "currency": "USD"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerow(row)
        found = read_text_frame(path, GENERIC, wanted=list(row))
    assert found.select("customer_id", "amount").row(0) == (name, amount)
