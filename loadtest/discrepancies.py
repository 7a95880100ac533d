"""An export of the billing system with mistakes planted in it, each of a known class.

Lines are chosen by a seed, each for one mistake. What every mistake is off by is known exactly,
so that what a reconciliation finds can be compared to the cent.
"""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random

Row = dict[str, str]

#: Of each kind.
PLANTED_EACH = 3
_SEAT_PRICE = Decimal("12.5")
_LEAST = Decimal(1)


@dataclass
class Planted:
    """How many mistakes of each class there are, and what they are off by, by currency."""

    classes: Counter[str] = field(default_factory=Counter)
    amounts: dict[str, Decimal] = field(default_factory=dict)

    def note(self, kind: str, row: Row, amount: Decimal) -> None:
        """One more; `amount` is what the export has too much."""
        self.classes[kind] += 1
        self.off_by(row["currency"], amount)

    def off_by(self, currency: str, amount: Decimal) -> None:
        """The export holds `amount` too much, which is no mistake."""
        self.amounts[currency] = self.amounts.get(currency, Decimal(0)) + amount


def plant(exported: Path, written: Path, *, seed: int) -> Planted:
    """Copy an export as CSV, with `PLANTED_EACH` mistakes of each kind.

    Raises `ValueError` where it has too few lines to choose from.
    """
    with exported.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = list(reader.fieldnames or [])
    random, planted = Random(seed), Planted()
    charges = [row for row in rows if row["kind"] == "charge" and Decimal(row["amount"]) >= _LEAST]
    seats = [row for row in charges if row["meter"] == "seats"]
    others = [row for row in charges if row["meter"] != "seats"]
    if len(seats) < PLANTED_EACH or len(others) < PLANTED_EACH * len(_MISTAKES):
        message = f"expected more lines to plant mistakes in, got {len(charges)} in {exported}"
        raise ValueError(message)
    for row in random.sample(seats, PLANTED_EACH):
        row["quantity"] = str(Decimal(row["quantity"]) + 2)
        row["amount"] = str(Decimal(row["amount"]) + 2 * _SEAT_PRICE)
        planted.note("wrong_quantity", row, 2 * _SEAT_PRICE)
    chosen = iter(random.sample(others, PLANTED_EACH * len(_MISTAKES)))
    for mistake in _MISTAKES:
        for _ in range(PLANTED_EACH):
            mistake(next(chosen), rows, planted)
    with written.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return planted


def _missing(row: Row, rows: list[Row], planted: Planted) -> None:
    rows.remove(row)
    planted.note("missing_in_invoice", row, -Decimal(row["amount"]))


def _invented(row: Row, rows: list[Row], planted: Planted) -> None:
    number = planted.classes["missing_in_usage"]
    invented = row | {"customer_id": f"nobody-{number}", "line_id": "", "invoice_id": ""}
    rows.append(invented)
    planted.note("missing_in_usage", row, Decimal(row["amount"]))


def _doubled(row: Row, rows: list[Row], planted: Planted) -> None:
    rows.append(dict(row))
    planted.note("duplicate", row, Decimal(row["amount"]))


def _repriced(row: Row, _rows: list[Row], planted: Planted) -> None:
    row["price_version"] = "7"
    _add(row, Decimal("3.21"))
    planted.note("wrong_price_version", row, Decimal("3.21"))


def _rounded(row: Row, _rows: list[Row], planted: Planted) -> None:
    _add(row, Decimal("-0.01"))
    planted.note("rounding", row, Decimal("-0.01"))


def _edited(row: Row, _rows: list[Row], planted: Planted) -> None:
    _add(row, Decimal("-0.55"))
    planted.note("manual_edit", row, Decimal("-0.55"))


def _add(row: Row, amount: Decimal) -> None:
    row["amount"] = str(Decimal(row["amount"]) + amount)


_MISTAKES: tuple[Callable[[Row, list[Row], Planted], None], ...] = (
    _missing, _invented, _doubled, _repriced, _rounded, _edited,
)  # fmt: skip
