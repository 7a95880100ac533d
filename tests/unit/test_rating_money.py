"""Currencies, and the one rounding of a line."""

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating_engine.currency import CurrencyUnknown, currency
from rating_engine.exact import ONE_CHARGE
from rating_engine.money import CurrencyMismatch, Money, Rounding, rounded

HALF_EVEN, HALF_UP = Rounding.HALF_EVEN, Rounding.HALF_UP
USD = currency("USD")


def charge(text: str) -> int:
    scaled = Decimal(text).scaleb(24, Context(prec=100))
    assert scaled == int(scaled)
    return int(scaled)


@pytest.mark.parametrize(
    ("exact", "code", "half_even", "half_up"),
    [
        ("0.50", "USD", "0.50", "0.50"),
        ("0.005", "USD", "0.00", "0.01"),
        ("0.015", "USD", "0.02", "0.02"),
        ("0.025", "USD", "0.02", "0.03"),
        ("-0.005", "USD", "0.00", "-0.01"),
        ("-0.025", "USD", "-0.02", "-0.03"),
        ("0.004999999999999999999999", "USD", "0.00", "0.00"),
        ("0.005000000000000000000001", "USD", "0.01", "0.01"),
        ("-0.004999999999999999999999", "USD", "0.00", "0.00"),
        ("999999999999999999.995", "USD", "1000000000000000000.00", "1000000000000000000.00"),
        ("0.5", "JPY", "0", "1"),
        ("1.5", "JPY", "2", "2"),
        ("-1.5", "JPY", "-2", "-2"),
        ("1234.0005", "KWD", "1234.000", "1234.001"),
        ("0.00005", "CLF", "0.0000", "0.0001"),
    ],
)
def test_half_a_minor_unit_goes_where_the_rule_says(
    exact: str, code: str, half_even: str, half_up: str
) -> None:
    money = currency(code)
    assert str(rounded(charge(exact), money, rounding=HALF_EVEN)) == half_even
    assert str(rounded(charge(exact), money, rounding=HALF_UP)) == half_up


@given(st.integers(-(10**30), 10**30), st.sampled_from(["USD", "JPY", "KWD", "CLF"]))
def test_rounding_is_that_of_decimal_and_symmetric(exact: int, code: str) -> None:
    money = currency(code)
    for rule, named in ((HALF_EVEN, ROUND_HALF_EVEN), (HALF_UP, ROUND_HALF_UP)):
        digits = Decimal(1).scaleb(-money.minor_digits)
        value = Decimal(exact).scaleb(-24, Context(prec=100))
        expected = value.quantize(digits, named, Context(prec=100))
        got = rounded(exact, money, rounding=rule)
        assert Decimal(str(got)) == expected
        assert rounded(-exact, money, rounding=rule) == -got


@pytest.mark.parametrize(
    ("code", "digits"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("ISK", 0)]
)
def test_minor_units_are_those_of_iso_4217(code: str, digits: int) -> None:
    assert currency(code).minor_digits == digits
    assert currency(code).minor_unit * 10**digits == ONE_CHARGE


@pytest.mark.parametrize("code", ["usd", "US", "XAU", "XTS", "XXX", "", "EURO", "ABC"])
def test_a_code_that_nothing_is_paid_in_is_refused(code: str) -> None:
    with pytest.raises(CurrencyUnknown, match="expected an ISO 4217 code"):
        currency(code)


def test_money_adds_up_in_one_currency() -> None:
    assert str(Money(USD, 105) + Money(USD, -5)) == "1.00"
    assert str(Money(USD, 105) - Money(USD, 110)) == "-0.05"
    with pytest.raises(CurrencyMismatch, match="expected USD, got EUR"):
        Money(USD, 1) + Money(currency("EUR"), 1)
