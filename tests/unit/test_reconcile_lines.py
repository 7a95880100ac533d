"""Invoice lines with every class of variance planted: all found, none misnamed, sums exact.

The planting program keeps its own books in `Decimal`; it shares nothing with what it judges.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any

import polars as pl
import pytest

from reconcile.agreements import Agreement
from reconcile.billed import Billed, card_versions
from reconcile.cards import Card, RoundingRule, Tier
from reconcile.check_lines import LineCheck, LinesResult
from reconcile.doubles import Double
from reconcile.variance import decimal_of

SEED = 20260701
JUNE = int(date(2026, 6, 1).toordinal() - 719_163) * 86_400
E12 = 10**12
CENT = Decimal("0.01")
ALLOWANCE = Decimal(100)
PRICES = {1: Decimal("0.0123"), 2: Decimal("0.0200"), 3: Decimal("0.0310")}
USAGE: dict[str, Any] = {
    "customer_id": pl.String, "meter": pl.String, "group": pl.String, "period_start": pl.Int64,
    "part_start": pl.Int64, "q_now": pl.Int128, "q_cut": pl.Int128, "q_once": pl.Int128,
    "n_now": pl.Int64, "n_cut": pl.Int64, "cards": pl.List(pl.UInt64), "usage_card": pl.UInt64,
}  # fmt: skip
LINES = {
    "customer_id": pl.String, "meter": pl.String, "group": pl.String, "kind": pl.String,
    "period_start": pl.Int64, "part_start": pl.Int64, "invoice_id": pl.String,
    "line_id": pl.String, "quantity": pl.Int128, "amount": pl.Int128, "currency": pl.String,
    "minor_digits": pl.UInt8, "rounding": pl.String, "plan": pl.String,
    "price_version": pl.Int64, "card": pl.UInt64, "adjustment_kind": pl.String,
    "line_currency": pl.String,
}  # fmt: skip
INVOICES = {
    "customer_id": pl.String, "invoice_id": pl.String, "period_start": pl.Int64,
    "currency": pl.String, "total": pl.Int128,
}  # fmt: skip
CARDS = {
    version: Card(
        version, "growth", version, "api", "{}", "USD", 0, int(ALLOWANCE) * E12, 0, 0, None, 0,
        (Tier(0, 0, int(price * E12), 0, 0),),
    )
    for version, price in PRICES.items()
}  # fmt: skip
LATER = JUNE + 15 * 86_400
#: Counts what earlier parts of the period used against its allowance.
CARRYING = Card(
    9, "growth", 4, "api", "{}", "USD", 15 * 86_400, int(ALLOWANCE) * E12, 0, 0, None, 0,
    (Tier(0, 0, int(PRICES[1] * E12), 0, 0),),
)  # fmt: skip


def charge(quantity: Decimal, version: int = 1) -> Decimal:
    over = max(quantity - ALLOWANCE, Decimal(0))
    return (over * PRICES[version]).quantize(CENT, ROUND_HALF_EVEN)


def whole(value: Decimal) -> int:
    return int(value * E12)


class Month:
    """Usage, lines and adjustments, and what was planted: (class, customer, currency) -> amount."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.usage: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.adjustments: list[dict[str, Any]] = []
        self.doubles: list[Double] = []
        self.sums: dict[tuple[str, str, str], Decimal] = {}
        self.planted: Counter[str] = Counter()
        self.terms: dict[str, tuple[int, int]] = {}  # base fee and commit, whole units
        self.totals_off: dict[str, Decimal] = {}

    def plant(self, variance: str, customer: str, amount: Decimal, currency: str = "USD") -> None:
        key = (variance, customer, currency)
        self.planted[variance] += 1
        self.sums[key] = self.sums.get(key, Decimal(0)) + amount

    def quantity(self) -> Decimal:
        return Decimal(self.random.randint(5_000, 900_000)) / 4

    def used(
        self,
        customer: str,
        cut: Decimal,
        *,
        late: Decimal = Decimal(0),
        twice: Decimal = Decimal(0),
    ) -> None:
        """`twice` is of what the invoice could see."""
        now = cut + late
        self.usage.append({
            "customer_id": customer, "meter": "api", "group": "{}", "period_start": JUNE,
            "part_start": JUNE, "q_now": whole(now), "q_cut": whole(cut),
            "q_once": whole(now - twice), "n_now": 2, "n_cut": 1 if cut else 0, "cards": [1],
            "usage_card": 1,
        })  # fmt: skip
        if twice:
            place = ("s", 0, len(self.usage), 0)
            self.doubles.append(Double("subject", customer, "api", "j", "00", place))

    def line(self, customer: str, quantity: Decimal, **changes: Any) -> None:
        self.lines.append(self._line(customer, quantity) | changes)

    def fee(self, customer: str, kind: str, amount: Decimal, **changes: Any) -> None:
        plain = {"kind": kind, "meter": "", "amount": amount, "card": 0, "price_version": 0}
        self.line(customer, Decimal(0), **plain, **changes)

    def adjusted(self, customer: str, quantity: Decimal, amount: Decimal) -> None:
        row = self._line(customer, quantity) | {"amount": amount, "adjustment_kind": "late_usage"}
        self.adjustments.append(row)

    def _line(self, customer: str, quantity: Decimal) -> dict[str, Any]:
        return {
            "customer_id": customer, "meter": "api", "group": "{}", "kind": "charge",
            "period_start": JUNE, "part_start": JUNE, "invoice_id": f"inv-{customer}",
            "line_id": f"il-{customer}", "quantity": quantity, "amount": charge(quantity),
            "currency": "USD", "minor_digits": 2, "rounding": "half_even", "plan": "growth",
            "price_version": 1, "card": 1, "adjustment_kind": "",
        }  # fmt: skip

    def check(self) -> LinesResult:
        def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
            numbers = ("quantity", "amount")
            return pl.DataFrame(
                [
                    {"line_currency": row["currency"], **row}
                    | {name: whole(row[name]) for name in numbers}
                    for row in rows
                ],
                schema=LINES,
            )

        lines, adjustments = frame(self.lines), frame(self.adjustments)
        invoices = lines.group_by("customer_id").agg(
            pl.first("invoice_id", "period_start", "currency"), pl.sum("amount").alias("total")
        )
        off = {name: whole(amount) for name, amount in self.totals_off.items()}
        more = pl.col("customer_id").replace_strict(off, default=0, return_dtype=pl.Int128)
        invoices = invoices.with_columns(pl.col("total") + more)
        billed = Billed(lines, adjustments, adjustments, invoices.select(*INVOICES))
        agreements = {}
        for customer in {row["customer_id"] for row in [*self.usage, *self.lines]}:
            fee, commit = (each * E12**2 for each in self.terms.get(customer, (0, 0)))
            agreements[customer, JUNE] = Agreement("growth", "USD", RoundingRule(), fee, commit)
        check = LineCheck(
            billed, pl.DataFrame(self.usage, schema=USAGE), cards={**CARDS, 9: CARRYING},
            versions=card_versions(CARDS), agreements=agreements,
        )  # fmt: skip
        return check.run(self.doubles)


def planted_month(seed: int) -> Month:
    month = Month(seed)
    for number in range(200):
        month.used(f"ok-{number}", quantity := month.quantity())
        month.line(f"ok-{number}", quantity)
    for number in range(4):
        whole_lines(month, number)
        parts_of_lines(month, number)
        several(month, number)
    return month


def whole_lines(month: Month, number: int) -> None:
    """Lines that are missing, groundless or in another currency; usage late or there twice."""
    more = Decimal(month.random.randint(200, 900))
    month.used(who := f"unbilled-{number}", quantity := month.quantity())
    month.plant("missing_in_invoice", who, -charge(quantity))
    month.line(who := f"groundless-{number}", quantity := month.quantity())
    month.plant("missing_in_usage", who, charge(quantity))
    month.used(who := f"euro-{number}", quantity := month.quantity())
    month.line(who, quantity, currency="EUR")
    month.plant("currency", who, -charge(quantity))
    month.plant("currency", who, charge(quantity), "EUR")
    month.used(who := f"late-{number}", quantity := month.quantity(), late=more)
    month.line(who, quantity)
    month.plant("late", who, charge(quantity) - charge(quantity + more))
    month.used(who := f"adjusted-{number}", quantity := month.quantity(), late=more)
    month.line(who, quantity)
    month.adjusted(who, more, charge(quantity + more) - charge(quantity))  # as it ought to be
    month.used(who := f"twice-{number}", quantity := month.quantity(), twice=more)
    month.line(who, quantity)
    month.plant("duplicate", who, charge(quantity) - charge(quantity - more))


def parts_of_lines(month: Month, number: int) -> None:
    """Lines with one thing wrong."""
    off = Decimal(month.random.randint(200, 900))
    month.used(who := f"quantity-{number}", quantity := month.quantity())
    month.line(who, quantity + off)
    month.plant("wrong_quantity", who, charge(quantity + off) - charge(quantity))
    version = 2 + number % 2
    month.used(who := f"version-{number}", quantity := month.quantity())
    month.line(who, quantity, amount=charge(quantity, version), price_version=version, card=version)
    month.plant("wrong_price_version", who, charge(quantity, version) - charge(quantity))
    cent = CENT if number % 2 else -CENT
    month.used(who := f"cent-{number}", quantity := month.quantity())
    month.line(who, quantity, amount=charge(quantity) + cent)
    month.plant("rounding", who, cent)
    month.used(who := f"edited-{number}", quantity := month.quantity())
    month.line(who, quantity, amount=charge(quantity) - off)
    month.plant("manual_edit", who, -off)
    month.used(who := f"two-cents-{number}", quantity := month.quantity())
    month.line(who, quantity, amount=charge(quantity) + 2 * CENT)
    month.plant("manual_edit", who, 2 * CENT)
    month.used(who := f"free-quantity-{number}", Decimal(50))  # within the allowance
    month.line(who, Decimal(60))
    month.plant("wrong_quantity", who, Decimal(0))
    month.used(who := f"free-version-{number}", Decimal(50))
    month.line(who, Decimal(50), price_version=2)
    month.plant("wrong_price_version", who, Decimal(0))
    month.used(who := f"adjusted-for-nothing-{number}", quantity := month.quantity())
    month.line(who, quantity)
    month.adjusted(who, off, off)
    month.plant("late", who, off)


def several(month: Month, number: int) -> None:
    """Lines with several things wrong at once."""
    more, off = (Decimal(month.random.randint(200, 900)) for _ in range(2))
    month.used(who := f"late-edited-{number}", quantity := month.quantity(), late=more)
    month.line(who, quantity, amount=charge(quantity) + off)
    month.plant("manual_edit", who, off)
    month.plant("late", who, charge(quantity) - charge(quantity + more))
    month.used(who := f"late-twice-{number}", quantity := month.quantity(), late=more, twice=off)
    month.line(who, quantity)
    month.plant("late", who, charge(quantity) - charge(quantity + more))
    month.plant("duplicate", who, charge(quantity + more) - charge(quantity + more - off))
    month.used(who := f"quantity-version-cent-{number}", quantity := month.quantity())
    amount = charge(quantity + off, 2) + CENT
    month.line(who, quantity + off, amount=amount, price_version=2, card=2)
    month.plant("wrong_quantity", who, charge(quantity + off) - charge(quantity))
    month.plant("wrong_price_version", who, charge(quantity + off, 2) - charge(quantity + off))
    month.plant("rounding", who, CENT)
    month.used(who := f"euro-edited-{number}", quantity := month.quantity())
    month.line(who, quantity, currency="EUR", amount=charge(quantity) + off)
    month.plant("currency", who, -charge(quantity) - off)
    month.plant("currency", who, charge(quantity) + off, "EUR")
    month.plant("manual_edit", who, off)
    month.used(who := f"adjusted-too-little-{number}", quantity := month.quantity(), late=more)
    month.line(who, quantity)
    due = charge(quantity + more) - charge(quantity)
    month.adjusted(who, more, due - CENT)
    month.plant("late", who, -CENT)


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_every_planted_variance_is_found_and_nothing_else(seed: int) -> None:
    month = planted_month(seed)
    result = month.check()
    found: dict[tuple[str, str, str], Decimal] = {}
    for each in result.findings:
        key = (str(each.variance), each.subject.customer_id, each.currency)
        found[key] = found.get(key, Decimal(0)) + decimal_of(each.amount)
    assert found == month.sums
    assert len(month.planted) == 9
    assert min(month.planted.values()) >= 3
    for currency in ("USD", "EUR"):
        explained = sum(each.amount for each in result.findings if each.currency == currency)
        assert explained == result.billed.get(currency, 0) - result.due.get(currency, 0)
        rows = [*month.lines, *month.adjustments]
        billed = sum((row["amount"] for row in rows if row["currency"] == currency), Decimal(0))
        assert decimal_of(result.billed.get(currency, 0)) == billed


def test_an_adjustment_with_nothing_behind_it_is_told() -> None:
    month = Month(1)
    month.adjusted("ghost", Decimal(5), Decimal("7.50"))
    (finding,) = month.check().findings
    assert (str(finding.variance), finding.currency) == ("missing_in_usage", "USD")
    assert decimal_of(finding.amount) == Decimal("7.5")


def test_base_fees_true_ups_and_totals_are_derived_too() -> None:
    month = Month(2)
    for number in range(4):
        month.used(who := f"right-{number}", Decimal(1100))  # 12.30, and 37.70 up to the commit
        month.terms[who] = (20, 50)
        month.line(who, Decimal(1100))
        month.fee(who, "base_fee", Decimal(20))
        month.fee(who, "true_up", Decimal("37.70"))
        month.used(who := f"fee-{number}", Decimal(1100))
        month.terms[who] = (20, 0)
        month.line(who, Decimal(1100))
        month.fee(who, "base_fee", Decimal(21))
        month.plant("manual_edit", who, Decimal(1))
        month.used(who := f"no-true-up-{number}", Decimal(1100))
        month.terms[who] = (0, 50)
        month.line(who, Decimal(1100))
        month.plant("manual_edit", who, Decimal("-37.70"))
        month.used(who := f"true-up-for-nothing-{number}", Decimal(1100))
        month.line(who, Decimal(1100))
        month.fee(who, "true_up", Decimal(3))
        month.plant("manual_edit", who, Decimal(3))
        month.used(who := f"total-{number}", Decimal(1100))
        month.line(who, Decimal(1100))
        month.totals_off[who] = Decimal("0.50")
        month.plant("manual_edit", who, Decimal("0.50"))
    result = month.check()
    found = {
        (str(each.variance), each.subject.customer_id, each.currency): decimal_of(each.amount)
        for each in result.findings
    }
    assert found == month.sums
    explained = sum(each.amount for each in result.findings)
    assert explained == result.billed["USD"] - result.due["USD"]


def test_what_is_billed_beside_usage_in_another_currency_is_told() -> None:
    """Base fees of a customer who used nothing, of one who did, and true-ups; also if adjusted."""
    month = Month(4)
    for number in range(3):
        euro = {"currency": "EUR"}
        month.fee(who := f"only-fee-{number}", "base_fee", Decimal(20), **euro)
        month.terms[who] = (20, 0)
        month.plant("currency", who, Decimal(-20))
        month.plant("currency", who, Decimal(20), "EUR")
        month.fee(who := f"other-fee-{number}", "base_fee", Decimal(23), **euro)
        month.terms[who] = (20, 0)
        month.plant("currency", who, Decimal(-23))
        month.plant("currency", who, Decimal(23), "EUR")
        month.plant("manual_edit", who, Decimal(3))
        month.used(who := f"true-up-{number}", Decimal(1100))
        month.terms[who] = (0, 50)
        month.line(who, Decimal(1100), **euro)
        month.fee(who, "true_up", Decimal("37.70"), **euro)
        month.plant("currency", who, Decimal(-50))
        month.plant("currency", who, Decimal(50), "EUR")
        month.fee(who := f"adjusted-fee-{number}", "base_fee", Decimal(20))
        month.terms[who] = (20, 0)
        month.adjusted(who, Decimal(0), Decimal(5))
        month.adjustments[-1].update(kind="base_fee", meter="", **euro)
        month.plant("currency", who, Decimal(-5))
        month.plant("currency", who, Decimal(5), "EUR")
        month.plant("late", who, Decimal(5))
        month.fee(f"nothing-{number}", "base_fee", Decimal(0), **euro)
    result = month.check()
    found: dict[tuple[str, str, str], Decimal] = {}
    for each in result.findings:
        key = (str(each.variance), each.subject.customer_id, each.currency)
        found[key] = found.get(key, Decimal(0)) + decimal_of(each.amount)
    assert found == month.sums
    for currency in ("USD", "EUR"):
        explained = sum(each.amount for each in result.findings if each.currency == currency)
        assert explained == result.billed.get(currency, 0) - result.due.get(currency, 0)


def test_an_allowance_that_an_earlier_part_used_is_gone_in_the_later_one() -> None:
    month = Month(3)
    month.used("one", Decimal(80))
    month.line("one", Decimal(80))
    month.used("one", Decimal(100))
    month.usage[-1].update(part_start=LATER, cards=[9], usage_card=9)
    due = (80 * PRICES[1]).quantize(CENT, ROUND_HALF_EVEN)  # of 100 units 20 are left
    month.line("one", Decimal(100), part_start=LATER, card=9, price_version=4, amount=due)
    assert month.check().findings == []
    month.lines[-1]["amount"] = Decimal(0)
    (finding,) = month.check().findings
    assert decimal_of(finding.amount) == -due
