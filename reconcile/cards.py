"""What a rate card charges, worked out anew: the reconciler's own arithmetic, in whole numbers.

Written from the words above the table `rate_cards`, and sharing no code with what it judges: the
smallest tier, in order, is looked for instead of a search, and packages are counted by a
`Fraction`. Quantities are 10^-12 units, charges 10^-24 of the currency's unit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

#: A charge (10^-24) for each unit of an amount (10^-12).
_FINER = 10**12


@dataclass(frozen=True, slots=True)
class Tier:
    """For overage above `above`: `charge` so far, then a price a unit, then packages."""

    above: int
    charge: int
    unit_price: int
    package_units: int
    package_price: int


@dataclass(frozen=True, slots=True)
class Card:
    """One row of `rate_cards`; see there. `cap` is None where there is none."""

    number: int
    plan: str
    price_version: int
    meter: str
    group: str
    currency: str
    carries_s: int
    covered: int
    base_fee: int
    minimum: int
    cap: int | None
    at_zero: int
    tiers: tuple[Tier, ...]
    #: Of a level in a part of its period: from when until when it was held, and of how long.
    held: tuple[int, int, int] = (0, 1, 1)

    def charge(self, quantity: int, used_before: int = 0) -> int:
        """Charge `quantity`, of whose allowance earlier parts have used `used_before`."""
        overage = quantity - self.covered_here(used_before)
        if overage <= 0:
            return self._due(self.base_fee + self.at_zero)
        tier = [each for each in self.tiers if each.above < overage][-1]
        beyond = overage - tier.above
        due = tier.charge + tier.unit_price * beyond
        if tier.package_units:
            due += tier.package_price * math.ceil(Fraction(beyond, tier.package_units))
        return self._due(self.base_fee + due)

    def covered_here(self, used_before: int) -> int:
        """Included units that are left (10^-12)."""
        return max(self.covered - used_before, 0) if self.carries_s else self.covered

    def included(self, quantity: int, used_before: int = 0) -> int:
        """The units of `quantity` that are included."""
        return min(max(quantity, 0), self.covered_here(used_before))

    def _due(self, due: int) -> int:
        if self.minimum > 0 or self.cap is not None:
            due = max(due, self.minimum)
        if self.cap is not None:
            due = min(due, self.cap)
        begin, end, period = self.held
        until, before = (math.floor(Fraction(due * moment, period)) for moment in (end, begin))
        return until - before


#: Cards by number.
Cards = Mapping[int, Card]


@dataclass(frozen=True, slots=True)
class RoundingRule:
    """How lines are rounded: to how many digits, and what becomes of exactly half."""

    minor_digits: int = 2
    name: str = "half_even"

    @property
    def minor_unit(self) -> int:
        """The smallest amount, in 10^-12."""
        return int(10 ** (12 - self.minor_digits))

    def rounded(self, charge: int) -> int:
        """The amount (10^-12) of an exact charge (10^-24). A credit mirrors its charge."""
        exact = Fraction(abs(charge), self.minor_unit * _FINER)
        minor = math.floor(exact)
        rest = exact - minor
        half = Fraction(1, 2)
        if rest > half or (rest == half and (self.name == "half_up" or minor % 2 == 1)):
            minor += 1
        return (-minor if charge < 0 else minor) * self.minor_unit
