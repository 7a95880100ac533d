"""Postings of a general ledger with every class planted: all found, none misnamed, sums exact."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from reconcile.check_ledger import LedgerResult, check_ledger
from reconcile.ledger_rows import LedgerMapping, read_postings
from reconcile.period import Period
from reconcile.variance import decimal_of

SEED = 20260702
E12 = 10**12
CENT = Decimal("0.01")
JUNE = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
PERIOD = Period("2026-06", date(2026, 6, 1), date(2026, 7, 1), (JUNE,))
MAPPING = LedgerMapping(
    accounts={"api": "4000", "storage": "4001", "base_fee": "4010", "adjustment": "4090"}
)
SCHEMA = {
    "customer_id": pl.String, "meter": pl.String, "kind": pl.String, "amount": pl.Int128,
    "currency": pl.String, "minor_digits": pl.UInt8, "is_adjustment": pl.Boolean,
}  # fmt: skip
FIELDS = ("posting_id", "account", "customer_id", "period", "amount", "currency")


class Books:
    """Lines of ours, postings of theirs, and what was planted."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.lines: list[dict[str, Any]] = []
        self.postings: list[dict[str, Any]] = []
        self.planted: Counter[str] = Counter()
        self.sums: dict[tuple[str, str, str], Decimal] = {}

    def plant(self, variance: str, customer: str, amount: Decimal, currency: str = "USD") -> None:
        key = (variance, customer, currency)
        self.planted[variance] += 1
        self.sums[key] = self.sums.get(key, Decimal(0)) + amount

    def amount(self) -> Decimal:
        return Decimal(self.random.randint(5_000, 9_000_000)) / 100

    def line(self, customer: str, amount: Decimal, *, is_adjustment: bool = False) -> None:
        self.lines.append({
            "customer_id": customer, "meter": "api", "kind": "charge", "amount": amount,
            "currency": "USD", "minor_digits": 2, "is_adjustment": is_adjustment,
        })  # fmt: skip

    def post(
        self, customer: str, amount: Decimal, *, account: str = "4000", currency: str = "USD",
        times: int = 1,
    ) -> None:  # fmt: skip
        posting = {
            "posting_id": f"p{len(self.postings)}", "account": account, "customer_id": customer,
            "period": "2026-06", "amount": str(amount), "currency": currency,
        }  # fmt: skip
        self.postings += [dict(posting) for _ in range(times)]

    def check(self, folder: Path) -> LedgerResult:
        path = folder / "postings.csv"
        self.random.shuffle(self.postings)
        rows = [",".join(FIELDS)]
        rows += [",".join(posting[name] for name in FIELDS) for posting in self.postings]
        path.write_text("\n".join(rows) + "\n")
        lines = pl.DataFrame(
            [{**line, "amount": int(line["amount"] * E12)} for line in self.lines], schema=SCHEMA
        )
        return check_ledger(lines, read_postings(path, MAPPING), period=PERIOD, mapping=MAPPING)


def planted_books(seed: int) -> Books:
    books = Books(seed)
    for number in range(100):  # in order: some posted in two pieces
        books.line(f"ok-{number}", amount := books.amount())
        piece = amount // 2 if number % 3 == 0 else Decimal(0)
        books.post(f"ok-{number}", amount - piece)
        if piece:
            books.post(f"ok-{number}", piece)
    for number in range(4):
        single(books, number)
        several(books, number)
    return books


def single(books: Books, number: int) -> None:
    """One thing wrong."""
    books.line(who := f"twice-{number}", amount := books.amount())
    books.post(who, amount, times=2)
    books.plant("duplicate", who, amount)
    books.line(who := f"missing-{number}", amount := books.amount())
    books.plant("missing_in_invoice", who, -amount)
    books.post(who := f"foreign-{number}", amount := books.amount())
    books.plant("missing_in_usage", who, amount)
    books.line(who := f"euro-{number}", amount := books.amount())
    books.post(who, amount, currency="EUR")
    books.plant("currency", who, -amount)
    books.plant("currency", who, amount, "EUR")
    books.line(who := f"late-{number}", amount := books.amount())
    books.line(who, late := books.amount(), is_adjustment=True)
    books.post(who, amount)
    books.plant("late", who, -late)
    books.line(who := f"cent-{number}", amount := books.amount())
    off = CENT if number % 2 else -CENT
    books.post(who, amount + off)
    books.plant("rounding", who, off)
    books.line(who := f"edited-{number}", amount := books.amount())
    books.post(who, amount + Decimal("3.21"))
    books.plant("manual_edit", who, Decimal("3.21"))


def several(books: Books, number: int) -> None:
    """Several things wrong with one account."""
    books.line(who := f"twice-cent-{number}", amount := books.amount())
    books.post(who, amount + CENT, times=2)
    books.plant("duplicate", who, amount + CENT)
    books.plant("rounding", who, CENT)
    books.line(who := f"twice-edited-{number}", amount := books.amount())
    books.post(who, amount - 5, times=3)
    books.plant("duplicate", who, 2 * (amount - 5))
    books.plant("manual_edit", who, Decimal(-5))
    books.line(who := f"euro-twice-{number}", amount := books.amount())
    books.post(who, amount, currency="EUR", times=2)
    books.plant("duplicate", who, amount, "EUR")
    books.plant("currency", who, -amount)
    books.plant("currency", who, amount, "EUR")
    books.line(who := f"euro-edited-{number}", amount := books.amount())
    books.post(who, amount + 4, currency="EUR")
    books.plant("currency", who, -(amount + 4))
    books.plant("currency", who, amount + 4, "EUR")
    books.plant("manual_edit", who, Decimal(4))
    books.line(who := f"other-account-{number}", amount := books.amount())
    books.post(who, amount, account="4001")
    books.plant("missing_in_invoice", who, -amount)
    books.plant("missing_in_usage", who, amount)


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_every_planted_variance_is_found_and_nothing_else(tmp_path: Path, seed: int) -> None:
    books = planted_books(seed)
    result = books.check(tmp_path)
    found: dict[tuple[str, str, str], Decimal] = {}
    for each in result.findings:
        key = (str(each.variance), each.subject.customer_id, each.currency)
        found[key] = found.get(key, Decimal(0)) + decimal_of(each.amount)
    assert found == books.sums
    assert len(books.planted) == 7
    assert min(books.planted.values()) >= 3
    for currency in ("USD", "EUR"):
        explained = sum(each.amount for each in result.findings if each.currency == currency)
        assert explained == result.got.get(currency, 0) - result.expected.get(currency, 0)


def test_postings_of_other_accounts_and_months_are_left_out(tmp_path: Path) -> None:
    books = Books(1)
    books.line("one", amount := books.amount())
    books.post("one", amount)
    books.post("one", Decimal(9), account="1200")
    books.post("one", Decimal(8))
    books.postings[-1]["period"] = "2026-05"
    result = books.check(tmp_path)
    assert result.findings == []
    assert (result.rows, result.skipped) == (1, 2)


def test_equal_lines_of_one_document_are_no_copies_where_the_sum_is_right(tmp_path: Path) -> None:
    books = Books(1)
    for _ in range(2):
        books.line("one", Decimal("20.00"))
    books.post("one", Decimal("20.00"), times=2)
    assert books.check(tmp_path).findings == []
    books.postings.append(dict(books.postings[0]))
    (found,) = books.check(tmp_path).findings[:1]
    assert str(found.variance) == "duplicate"
