"""What a rate card charges, worked out anew: the reconciler's own arithmetic, in whole numbers.

Written from the words above the table `rate_cards`, and sharing no code with what it judges: the
tier is looked for in order instead of by a search, and packages are counted by what is left over.
Quantities are 10^-12 units, charges 10^-24 of the currency's unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: A charge (10^-24) for each unit of an amount (10^-12).
_FINER = 10**12
#: The smallest amount of a currency (10^-12), by its minor digits.
_MINOR_UNITS = tuple(int(10 ** (12 - digits)) for digits in range(13))


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
        tier = self.tiers[0]
        for each in self.tiers:
            if each.above >= overage:
                break
            tier = each
        beyond = overage - tier.above
        due = tier.charge + tier.unit_price * beyond
        if tier.package_units:
            packages, rest = divmod(beyond, tier.package_units)
            due += tier.package_price * (packages + (rest > 0))
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
        return due * end // period - due * begin // period


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
        return _MINOR_UNITS[self.minor_digits]

    def rounded(self, charge: int) -> int:
        """The amount (10^-12) of an exact charge (10^-24). A credit mirrors its charge."""
        small = _MINOR_UNITS[self.minor_digits]
        minor, rest = divmod(abs(charge), small * _FINER)
        if rest:
            above_half = 2 * rest - small * _FINER
            is_up = self.name == "half_up" or minor % 2 == 1
            minor += above_half > 0 or (above_half == 0 and is_up)
        return (-minor if charge < 0 else minor) * small
