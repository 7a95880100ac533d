"""An export of the billing system with mistakes planted in it, each of a known class.

Lines are chosen by a seed, each for one mistake. What every mistake is off by is known exactly,
so that what a reconciliation finds can be compared to the cent.
"""

import csv
from collections import Counter
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

    def note(self, kind: str, row: Row, *, amount: Decimal) -> None:
        """One more; `amount` is what the export has too much."""
        self.classes[kind] += 1
        currency = row["currency"]
        self.amounts[currency] = self.amounts.get(currency, Decimal(0)) + amount


def plant(exported: Path, written: Path, *, seed: int) -> Planted:
    """Copy an export as CSV, with `PLANTED_EACH` mistakes of each kind.

    Raises `ValueError` where it has too few lines to choose from.
    """
    with exported.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        export = _Export(list(reader))
        names = list(reader.fieldnames or [])
    random = Random(seed)
    mistakes = (
        export.lose, export.invent, export.double, export.reprice, export.round, export.edit,
    )  # fmt: skip
    large = [row for row in export.rows if _is_charge(row)]
    seats = [row for row in large if row["meter"] == "seats"]
    others = [row for row in large if row["meter"] != "seats"]
    if len(seats) < PLANTED_EACH or len(others) < PLANTED_EACH * len(mistakes):
        message = f"expected more lines to plant mistakes in, got {len(large)} in {exported}"
        raise ValueError(message)
    for row in random.sample(seats, PLANTED_EACH):
        export.miscount(row)
    chosen = iter(random.sample(others, PLANTED_EACH * len(mistakes)))
    for mistake in mistakes:
        for _ in range(PLANTED_EACH):
            mistake(next(chosen))
    with written.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(export.rows)
    return export.planted


def _is_charge(row: Row) -> bool:
    return row["kind"] == "charge" and Decimal(row["amount"]) >= _LEAST


class _Export:
    """Rows, and what was done to them."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.planted = Planted()

    def lose(self, row: Row) -> None:
        self.rows.remove(row)
        self.planted.note("missing_in_invoice", row, amount=-Decimal(row["amount"]))

    def invent(self, row: Row) -> None:
        number = self.planted.classes["missing_in_usage"]
        self.rows.append(row | {"customer_id": f"nobody-{number}", "line_id": "", "invoice_id": ""})
        self.planted.note("missing_in_usage", row, amount=Decimal(row["amount"]))

    def double(self, row: Row) -> None:
        self.rows.append(dict(row))
        self.planted.note("duplicate", row, amount=Decimal(row["amount"]))

    def reprice(self, row: Row) -> None:
        row["price_version"] = "7"
        self._change("wrong_price_version", row, amount=Decimal("3.21"))

    def round(self, row: Row) -> None:
        self._change("rounding", row, amount=Decimal("-0.01"))

    def edit(self, row: Row) -> None:
        self._change("manual_edit", row, amount=Decimal("-0.55"))

    def miscount(self, row: Row) -> None:
        """Two seats too many, and charged."""
        row["quantity"] = str(Decimal(row["quantity"]) + 2)
        self._change("wrong_quantity", row, amount=2 * _SEAT_PRICE)

    def _change(self, kind: str, row: Row, *, amount: Decimal) -> None:
        row["amount"] = str(Decimal(row["amount"]) + amount)
        self.planted.note(kind, row, amount=amount)
