"""Currencies by their ISO 4217 code, and how many digits behind the point each is paid in."""

from dataclasses import dataclass
from functools import cache

import iso4217

from rating_engine.exact import CHARGE_SCALE


class CurrencyUnknown(ValueError):
    """ISO 4217 has no such code, or nothing is paid in it (gold, the code for testing)."""


@dataclass(frozen=True, slots=True)
class Currency:
    """A code and its minor units: USD is paid in 10^-2, JPY in 10^0, KWD in 10^-3."""

    code: str
    minor_digits: int

    @property
    def minor_unit(self) -> int:
        """The smallest payable amount as a charge: in 10^-24 of the currency's unit."""
        smallest: int = 10 ** (CHARGE_SCALE - self.minor_digits)
        return smallest


@cache
def currency(code: str) -> Currency:
    """Look up `code`, three capital letters. Asked once for each plan.

    Raises `CurrencyUnknown`.
    """
    try:
        known = iso4217.Currency(code)
    except ValueError:
        known = None
    minor_digits = None if known is None else known.exponent
    if known is None or minor_digits is None or known.code != code:
        message = f"currency: expected an ISO 4217 code with minor units, got {code!r}"
        raise CurrencyUnknown(message)
    return Currency(code, minor_digits)
