"""Money that can be paid: whole minor units of one currency, after the one rounding of a line."""

from dataclasses import dataclass
from enum import StrEnum

from rating_engine.currency import Currency
from rating_engine.exact import whole


class CurrencyMismatch(ValueError):
    """Two currencies were to be added; only a person can say at which rate."""


class Rounding(StrEnum):
    """What becomes of exactly half a minor unit; anything else goes to the nearest."""

    HALF_EVEN = "half_even"  # to the even neighbour: no drift over many lines
    HALF_UP = "half_up"  # away from zero: a credit is the mirror of its charge


@dataclass(frozen=True, slots=True)
class Money:
    """`minor` minor units of `currency`: 1050 of USD are 10.50.

    Raises `TypeError` unless `minor` is an `int`.
    """

    currency: Currency
    minor: int

    def __post_init__(self) -> None:
        """Keep out floats."""
        whole(self.minor, "minor units")

    def __add__(self, other: "Money") -> "Money":
        """Add two amounts; raises `CurrencyMismatch`."""
        if other.currency != self.currency:
            message = f"expected {self.currency.code}, got {other.currency.code}"
            raise CurrencyMismatch(message)
        return Money(self.currency, self.minor + other.minor)

    def __neg__(self) -> "Money":
        """Turn a charge into its credit."""
        return Money(self.currency, -self.minor)

    def __sub__(self, other: "Money") -> "Money":
        """Subtract; raises `CurrencyMismatch`."""
        return self + -other

    def __str__(self) -> str:
        """The amount as decimal text with all minor digits and no code: `0.50`."""
        digits = self.currency.minor_digits
        units, fraction = divmod(abs(self.minor), 10**digits)
        sign = "-" if self.minor < 0 else ""
        return f"{sign}{units}.{fraction:0{digits}d}" if digits else f"{sign}{units}"


def rounded(charge: int, currency: Currency, *, rounding: Rounding) -> Money:
    """Round `charge` (10^-24 of the currency's unit) to minor units: the one rounding of a line.

    Both rules are symmetric: the rounding of -x is minus the rounding of x.
    Raises `TypeError` unless `charge` is an `int`.
    """
    unit = currency.minor_unit
    minor, rest = divmod(abs(whole(charge, "charge")), unit)
    above_half = 2 * rest - unit
    is_odd = minor % 2 == 1
    if above_half > 0 or (above_half == 0 and (rounding is Rounding.HALF_UP or is_odd)):
        minor += 1
    return Money(currency, -minor if charge < 0 else minor)
