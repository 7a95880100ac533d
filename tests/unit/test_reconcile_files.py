"""What `meterline invoices export` writes is read back as it was, however it begins."""

from __future__ import annotations

import csv
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from billing.invoice_export import guarded
from reconcile.export_rows import read_export
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


def test_parquet_decimals_are_read_with_all_their_digits_and_no_exponent(tmp_path: Path) -> None:
    """Ours have quantities of 12 digits: of a base fee 0, which Arrow writes as 0E-12."""
    quantities = [Decimal(0), Decimal("0.000000000001"), None, Decimal("12.5"), Decimal(10**19)]
    kept = {
        "customer_id": pa.array(["c"] * 5), "meter": pa.array(["api"] * 5),
        "quantity": pa.array(quantities, pa.decimal128(38, 12)),
        "amount": pa.array([Decimal("-0.01")] * 5, pa.decimal128(38, 4)),
        "currency": pa.array(["USD"] * 5),
    }  # fmt: skip
    path = tmp_path / "export.parquet"
    pq.write_table(pa.table(kept), path)
    found = read_export(path, GENERIC)
    assert found["quantity"].to_list() == [0, 1, None, 12_500_000_000_000, 10**31]
    assert found["amount"].to_list() == [-10_000_000_000] * 5
