"""A seeded export with every class of variance planted: all found, none misnamed, sums exact.

The planting program keeps its own books in `Decimal`; it shares nothing with what it judges.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from reconcile.cards import Card, Tier
from reconcile.check_export import CardKnowledge, ExportResult, check_export
from reconcile.export_rows import read_export
from reconcile.mapping import GENERIC, STRIPE, FileMapping
from reconcile.period import Period
from reconcile.variance import decimal_of

SEED = 20260630
JUNE = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
PERIOD = Period("2026-06", date(2026, 6, 1), date(2026, 7, 1), (JUNE,))
PRICES = {1: Decimal("0.0123"), 2: Decimal("0.0200"), 3: Decimal("0.0310")}
ALLOWANCE = Decimal(100)
CENT = Decimal("0.01")
E12 = 10**12
SCHEMA = {
    "customer_id": pl.String, "meter": pl.String, "group": pl.String, "kind": pl.String,
    "period_start": pl.Int64, "part_start": pl.Int64, "invoice_id": pl.String,
    "line_id": pl.String, "quantity": pl.Int128, "amount": pl.Int128, "currency": pl.String,
    "minor_digits": pl.UInt8, "rounding": pl.String, "plan": pl.String,
    "price_version": pl.Int64, "card": pl.UInt64, "is_adjustment": pl.Boolean,
}  # fmt: skip


def charge(quantity: Decimal, version: int = 1) -> Decimal:
    over = max(quantity - ALLOWANCE, Decimal(0))
    return (over * PRICES[version]).quantize(CENT, ROUND_HALF_EVEN)


def whole(value: Decimal) -> int:
    return int(value * E12)


CARDS = {
    version: Card(
        version, "growth", version, "api", "{}", "USD", 0, int(ALLOWANCE) * E12, 0, 0, None, 0,
        (Tier(0, 0, whole(price), 0, 0),),
    )
    for version, price in PRICES.items()
}  # fmt: skip


class Books:
    """Lines of ours, rows of theirs, and what was planted: (class, customer) -> amount."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.lines: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.planted: Counter[tuple[str, str, str]] = Counter()
        self.sums: dict[tuple[str, str, str], Decimal] = {}
        self.late: dict[tuple[str, str, str, int], list[int]] = {}

    def plant(self, variance: str, customer: str, amount: Decimal, currency: str = "USD") -> None:
        key = (variance, customer, currency)
        self.planted[key] += 1
        self.sums[key] = self.sums.get(key, Decimal(0)) + amount

    def line(self, customer: str, *, kind: str = "charge", is_adjustment: bool = False,
             quantity: Decimal | None = None) -> dict[str, Any]:  # fmt: skip
        quantity = quantity or Decimal(self.random.randint(5_000, 9_000_000)) / 4
        amount = charge(quantity) if kind == "charge" else Decimal(49)
        row = {
            "customer_id": customer, "meter": "api" if kind == "charge" else "", "group": "{}",
            "kind": kind, "period_start": JUNE, "part_start": JUNE, "invoice_id": f"inv-{customer}",
            "line_id": f"il-{len(self.lines)}",
            "quantity": quantity if kind == "charge" else Decimal(0),
            "amount": amount, "currency": "USD", "minor_digits": 2, "rounding": "half_even",
            "plan": "growth", "price_version": 1, "card": 1 if kind == "charge" else 0,
            "is_adjustment": is_adjustment,
        }  # fmt: skip
        self.lines.append(row)
        return row

    def row(self, line: dict[str, Any], **changes: Any) -> dict[str, Any]:
        row = {
            "customer_id": line["customer_id"], "meter": line["meter"] or line["kind"],
            "period_start": "2026-06-01", "period_end": "2026-07-01", "quantity": line["quantity"],
            "amount": line["amount"], "currency": "USD", "invoice_id": line["invoice_id"],
            "line_id": line["line_id"], "price_version": 1, **changes,
        }  # fmt: skip
        self.rows.append(row)
        return row


def planted_books(seed: int, *, with_ids: bool) -> Books:
    books = Books(seed)
    random = books.random

    for number in range(300):  # in order: some whole, some split
        line = books.line(f"ok-{number}")
        if number % 5:
            books.row(line)
        else:
            half = line["quantity"] // 2
            first = charge(half)
            books.row(line, quantity=half, amount=first)
            books.row(line, quantity=line["quantity"] - half, amount=line["amount"] - first)
    for number in range(4):
        fee = books.line(f"ok-{number}", kind="base_fee")
        books.row(fee)
    whole_rows(books)
    wrong_rows(books)
    late(books)
    overlapping(books)
    for row in books.rows:
        row.update({} if with_ids else {"line_id": ""})
    random.shuffle(books.rows)
    return books


def whole_rows(books: Books) -> None:
    """Rows that are missing, too many, or there twice."""
    for number in range(4):
        who = f"missing-{number}"
        books.plant("missing_in_invoice", who, -books.line(who)["amount"])
        who = f"foreign-{number}"
        ghost = books.line(who)
        books.lines.pop()
        books.row(ghost, line_id=f"theirs-{number}")
        books.plant("missing_in_usage", who, ghost["amount"])
        who = f"twice-{number}"
        line = books.line(who)
        books.row(line)
        books.row(line)
        books.plant("duplicate", who, line["amount"])


def wrong_rows(books: Books) -> None:
    """Rows with one thing wrong."""
    random = books.random
    for number in range(4):
        who = f"quantity-{number}"
        line = books.line(who)
        wrong = line["quantity"] + random.randint(1000, 5000) * random.choice((1, -1))
        wrong = max(wrong, Decimal(1))
        books.row(line, quantity=wrong, amount=charge(wrong))
        books.plant("wrong_quantity", who, charge(wrong) - line["amount"])
        who = f"version-{number}"  # half of them say so, half only charge it
        line = books.line(who)
        version = 2 + number % 2
        books.row(line, amount=charge(line["quantity"], version),
                  price_version=version if number < 2 else 1)  # fmt: skip
        books.plant("wrong_price_version", who, charge(line["quantity"], version) - line["amount"])
        who = f"cent-{number}"
        line = books.line(who)
        off = CENT if number % 2 else -CENT
        books.row(line, amount=line["amount"] + off)
        books.plant("rounding", who, off)
        who = f"euro-{number}"
        line = books.line(who)
        books.row(line, currency="EUR")
        books.plant("currency", who, -line["amount"])
        books.plant("currency", who, line["amount"], "EUR")
        who = f"euro-fee-{number}"
        fee = books.line(who, kind=("base_fee", "true_up")[number % 2])
        books.row(fee, currency="EUR")
        books.plant("currency", who, -fee["amount"])
        books.plant("currency", who, fee["amount"], "EUR")
        who = f"edited-{number}"
        line = books.line(who)
        off = Decimal(random.randint(500, 5000)) * random.choice((1, -1)) / 100 + Decimal("0.07")
        books.row(line, amount=line["amount"] + off)
        books.plant("manual_edit", who, off)


def late(books: Books) -> None:
    """Usage after the cut that the export holds, and adjustments that it lacks."""
    for number in range(4):
        who = f"late-{number}"  # the export holds what came after the cut
        line = books.line(who)
        more = Decimal(books.random.randint(100, 900))
        books.late[who, "api", "{}", JUNE] = [whole(more)]
        total = line["quantity"] + more
        books.row(line, quantity=total, amount=charge(total))
        books.plant("late", who, charge(total) - line["amount"])
        who = f"adjusted-{number}"  # an adjustment that the export lacks
        books.row(books.line(who))
        books.plant("late", who, -books.line(who, is_adjustment=True)["amount"])
        who = f"adjusted-edited-{number}"  # the same, and the row that is there was edited
        line = books.line(who)
        books.row(line, amount=line["amount"] + Decimal("7.77"))
        books.plant("manual_edit", who, Decimal("7.77"))
        books.plant("late", who, -books.line(who, is_adjustment=True)["amount"])


def overlapping(books: Books) -> None:
    """Several causes on one line."""
    random = books.random
    for number in range(3):
        who = f"quantity-version-edit-{number}"
        line = books.line(who)
        wrong = line["quantity"] + random.randint(100, 900)
        off = Decimal(random.randint(10, 90)) + Decimal("0.33")
        amount = charge(wrong, 2) + off
        books.row(line, quantity=wrong, amount=amount, price_version=2)
        books.plant("wrong_quantity", who, charge(wrong) - line["amount"])
        books.plant("wrong_price_version", who, charge(wrong, 2) - charge(wrong))
        books.plant("manual_edit", who, off)
        who = f"twice-quantity-{number}"
        line = books.line(who)
        wrong = line["quantity"] + 400
        for _ in range(2):
            books.row(line, quantity=wrong, amount=charge(wrong))
        books.plant("duplicate", who, charge(wrong))
        books.plant("wrong_quantity", who, charge(wrong) - line["amount"])
        who = f"euro-quantity-{number}"
        line = books.line(who)
        wrong = line["quantity"] + 700
        books.row(line, quantity=wrong, amount=charge(wrong), currency="EUR")
        books.plant("currency", who, -charge(wrong))
        books.plant("currency", who, charge(wrong), "EUR")
        books.plant("wrong_quantity", who, charge(wrong) - line["amount"])
        who = f"version-cent-{number}"
        line = books.line(who)
        books.row(line, amount=charge(line["quantity"], 3) + CENT, price_version=3)
        books.plant("wrong_price_version", who, charge(line["quantity"], 3) - line["amount"])
        books.plant("rounding", who, CENT)


def run(books: Books, path: Path, mapping: FileMapping = GENERIC) -> ExportResult:
    lines = pl.DataFrame(
        [
            {**line, "quantity": whole(line["quantity"]), "amount": whole(line["amount"])}
            for line in books.lines
        ],
        schema=SCHEMA,
    )
    rows = read_export(path, mapping)
    known = CardKnowledge(CARDS, {("growth", "api", "{}"): list(CARDS.values())}, books.late)
    return check_export(lines, rows, period=PERIOD, known=known)


def found_in(result: ExportResult) -> dict[tuple[str, str, str], Decimal]:
    found: dict[tuple[str, str, str], Decimal] = {}
    for each in result.findings:
        key = (str(each.variance), each.subject.customer_id, each.currency)
        found[key] = found.get(key, Decimal(0)) + decimal_of(each.amount)
    return found


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_planted_variance_is_found_and_nothing_else(
    tmp_path: Path, seed: int, with_ids: bool, ending: str
) -> None:
    books = planted_books(seed, with_ids=with_ids)
    path = tmp_path / f"export.{ending}"
    texts = ("quantity", "amount", "price_version")
    written = pl.DataFrame(
        [{**row, **{name: str(row[name]) for name in texts}} for row in books.rows]
    )
    if ending == "csv":
        written.write_csv(path)
    elif ending == "jsonl":
        written.write_ndjson(path)
    else:
        written.write_parquet(path)
    result = run(books, path)
    assert found_in(result) == books.sums
    classes = Counter(variance for variance, _, _ in books.sums)
    assert len(classes) == 9
    assert min(classes.values()) >= 3
    difference = {
        currency: decimal_of(result.got.get(currency, 0) - result.expected.get(currency, 0))
        for currency in ("USD", "EUR")
    }
    rows, lines = books.rows, books.lines
    for currency, off in difference.items():
        assert off == sum(
            (row["amount"] for row in rows if row["currency"] == currency), Decimal(0)
        ) - sum((line["amount"] for line in lines if line["currency"] == currency), Decimal(0))
        assert off == sum(
            (decimal_of(x.amount) for x in result.findings if x.currency == currency), Decimal(0)
        )


@pytest.mark.parametrize("billed", [0, 1, 2])
def test_lines_of_one_row_in_two_currencies_are_explained(tmp_path: Path, billed: int) -> None:
    books = Books(2)
    plain = books.line("ok", is_adjustment=True)
    foreign = books.line("ok", is_adjustment=True)
    foreign |= {"currency": "EUR", "line_id": plain["line_id"]}
    for line in (plain, foreign)[:billed]:
        books.row(line)
    if not billed:
        books.row(books.line("other"))
    path = tmp_path / "export.csv"
    pl.DataFrame(
        [{**row, **{n: str(row[n]) for n in ("quantity", "amount")}} for row in books.rows]
    ).write_csv(path)
    result = run(books, path)
    for currency in ("USD", "EUR"):
        off = result.got.get(currency, 0) - result.expected.get(currency, 0)
        assert off == sum(each.amount for each in result.findings if each.currency == currency)
    assert any(each.currency == "EUR" for each in result.findings)


def test_stripe_line_items_read_as_the_same_lines(tmp_path: Path) -> None:
    books = Books(1)
    rows: list[dict[str, Any]] = []
    for number in range(20):
        line = books.line(f"org-{number}")
        rows.append({
            "id": f"il_{number}", "object": "line_item", "amount": int(line["amount"] * 100),
            "currency": "usd", "quantity": int(line["quantity"]), "invoice": "in_1",
            "period": {"start": JUNE, "end": JUNE + 30 * 86_400},
            "price": {"id": "price_1"},
            "metadata": {"customer_id": line["customer_id"], "meter": "api",
                         "quantity": str(line["quantity"]), "price_version": "1"},
        })  # fmt: skip
    path = tmp_path / "items.jsonl"
    pl.DataFrame(rows).write_ndjson(path)
    assert run(books, path, STRIPE).findings == []
    rows[3]["amount"] += 500
    pl.DataFrame(rows).write_ndjson(path)
    (finding,) = run(books, path, STRIPE).findings
    assert (str(finding.variance), decimal_of(finding.amount)) == ("manual_edit", Decimal(5))
