"""Lines that our own close never writes: each is told of, and the sums stay exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from test_reconcile_lines import Month, charge

from reconcile.check_lines import LinesResult
from reconcile.variance import decimal_of

Told = list[tuple[str, str, str, Decimal]]


def told(result: LinesResult) -> Told:
    """Class, customer, currency and amount of every finding, which have to explain all."""
    for currency in {*result.billed, *result.due, *(each.currency for each in result.findings)}:
        explained = sum(each.amount for each in result.findings if each.currency == currency)
        off = result.billed.get(currency, 0) - result.due.get(currency, 0)
        assert explained == off, currency
    return sorted(
        (str(each.variance), each.subject.customer_id, each.currency, decimal_of(each.amount))
        for each in result.findings
    )


def right(month: Month, who: str) -> Decimal:
    """Usage and a line that bills it; what it comes to."""
    month.used(who, quantity := Decimal(1100))
    month.line(who, quantity)
    return charge(quantity)


def test_a_line_that_says_another_currency_than_its_invoice_is_told() -> None:
    month = Month(1)
    right(month, "right")
    amount = right(month, "charge")
    month.lines[-1]["line_currency"] = "EUR"
    month.terms["fee"] = (20, 0)
    right(month, "fee")
    month.fee("fee", "base_fee", Decimal(20), line_currency="EUR")
    month.used("late", Decimal(1100), late=Decimal(100))
    month.line("late", Decimal(1100))
    more = charge(Decimal(1200)) - charge(Decimal(1100))
    month.adjusted("late", Decimal(100), more)
    month.adjustments[-1]["line_currency"] = "EUR"
    month.fee("nothing", "base_fee", Decimal(0), line_currency="EUR")
    assert told(month.check()) == sorted([
        ("currency", "charge", "USD", -amount), ("currency", "charge", "EUR", amount),
        ("currency", "fee", "USD", Decimal(-20)), ("currency", "fee", "EUR", Decimal(20)),
        ("currency", "late", "USD", -more), ("currency", "late", "EUR", more),
    ])  # fmt: skip


@pytest.mark.parametrize("line_currency", ["USD", "CHF", "EUR"])
def test_an_invoice_in_another_currency_than_its_prices_is_told_once(line_currency: str) -> None:
    month = Month(1)
    amount = right(month, "euro")
    month.lines[-1].update(currency="EUR", line_currency=line_currency)
    assert told(month.check()) == [
        ("currency", "euro", "EUR", amount), ("currency", "euro", "USD", -amount),
    ]  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"line_id": "il-twice-2"}, {"amount": Decimal("7.77")}])
def test_a_line_that_an_invoice_holds_twice_is_a_duplicate(changes: dict[str, Any]) -> None:
    month = Month(1)
    right(month, "right")
    right(month, "twice")
    month.line("twice", Decimal(1100), **changes)
    (found,) = told(month.check())
    assert found == ("duplicate", "twice", "USD", month.lines[-1]["amount"])


def test_a_line_of_a_kind_that_nothing_makes_due_is_told() -> None:
    month = Month(1)
    right(month, "handling")
    month.fee("handling", "handling_fee", Decimal(5))
    right(month, "late")
    month.adjusted("late", Decimal(0), Decimal(7))
    month.adjustments[-1].update(kind="handling_fee", meter="")
    assert told(month.check()) == [
        ("missing_in_usage", "handling", "USD", Decimal(5)),
        ("missing_in_usage", "late", "USD", Decimal(7)),
    ]  # fmt: skip


def test_a_fee_that_is_adjusted_though_its_invoice_is_gone_is_told() -> None:
    month = Month(1)
    right(month, "right")
    month.adjusted("gone", Decimal(0), Decimal(20))
    month.adjustments[-1].update(kind="base_fee", meter="", card=0)
    assert told(month.check()) == [("missing_in_usage", "gone", "USD", Decimal(20))]


@pytest.mark.parametrize("foreign", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("has_invoice", [True, False])
def test_adjustments_of_one_line_in_two_currencies_are_told(
    foreign: list[int], has_invoice: bool
) -> None:
    month = Month(1)
    right(month, "right")
    amounts = [Decimal(1100), Decimal(300), Decimal(100), Decimal(50)]
    month.used("late", amounts[0] if has_invoice else Decimal(0), late=sum(amounts[1:], Decimal(0)))
    billed = charge(Decimal(1100)) if has_invoice else Decimal(0)
    reached = Decimal(1100) if has_invoice else Decimal(0)
    if has_invoice:
        month.line("late", Decimal(1100))
    for number, more in enumerate(amounts[1:]):
        reached += more
        part = charge(reached) - billed
        billed += part
        month.adjusted("late", more, part)
        if number in foreign:
            month.adjustments[-1].update(currency="EUR", line_currency="EUR")
    found = told(month.check())
    assert any(currency == "EUR" for _, _, currency, _ in found)
