"""What every pricing model is: a function from a quantity to a charge, and the steps of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

Group = Mapping[str, str]


class StepKind(StrEnum):
    """What a step of a charge is for, in the order in which steps come."""

    INCLUDED = "included"  # allowance: free
    COMMIT_BASE = "commit_base"  # the commit bucket's base fee, used or not
    UNITS = "units"  # a quantity times a price
    PACKAGES = "packages"  # started packages times a price
    FLAT_FEE = "flat_fee"  # of a tier that was entered
    MINIMUM = "minimum"  # what is missing to the minimum
    CAP = "cap"  # what is above the cap, negative
    TIME = "time"  # what of a level is not due, as it was held for a part of the period, negative


@dataclass(frozen=True, slots=True)
class Step:
    """One addend of a charge; the amounts of all steps add up to the charge exactly.

    `quantity` is in 10^-12 units (whole packages for PACKAGES, 0 where it does not matter),
    `price` in 10^-12 and `amount` in 10^-24 of the currency's unit. `tier` counts from 1.
    """

    kind: StepKind
    amount: int
    quantity: int = 0
    price: int = 0
    tier: int | None = None


class CardRow(NamedTuple):
    """A stretch of quantities with one formula: from `above` (exclusive) to the next row's.

    A quantity x (10^-12 units) in it is charged, in 10^-24 of the currency's unit,

        charge + unit_price * (x - above) + package_price * ceil((x - above) / package_units)

    where both prices are what one 10^-12 unit and one whole package cost: `unit_price` in 10^-12,
    `package_price` in 10^-24 of the currency's unit. `package_units` is 0 where there are none.
    """

    above: int
    charge: int = 0
    unit_price: int = 0
    package_units: int = 0
    package_price: int = 0


class Model(Protocol):
    """Charges for one quantity, starting at nothing; one file each.

    Not monotone in general: `volume` and `stairstep` may charge less for more.
    """

    def charge(self, units: int, /) -> int:
        """Charge for `units` (10^-12, 0 or more), in 10^-24 of the currency's unit.

        Called for every event; checks nothing.
        """
        ...

    def steps(self, units: int, /) -> tuple[Step, ...]:
        """The same charge as its addends, for people; none where nothing is charged."""
        ...

    def card_rows(self) -> tuple[CardRow, ...]:
        """The same charge for every quantity above zero as formulas, for what is no Python.

        Ascending, the first from 0 on, the last one open. What zero costs is `charge(0)`.
        """
        ...
