"""Graduated: each unit at the price of its tier, and the fee of every tier that was entered."""

from dataclasses import dataclass, field

from rating_engine.fields import Fields
from rating_engine.models.model import CardRow, Step, StepKind
from rating_engine.models.tiers import Tiers, borders, fee_at_zero, read_tiers, tier_at


@dataclass(frozen=True, slots=True)
class Graduated:
    """Compiled to one line for each tier: `charge = offset + units * price` within it. Monotone.

    Raises `ValueError` for tiers that do not follow each other.
    """

    tiers: Tiers
    _borders: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _lines: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    _at_zero: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out every tier's line."""
        closed = borders(self.tiers)
        lines = []
        low = below = 0
        for tier in self.tiers:
            below += tier.flat_fee
            lines.append((below - low * tier.unit_price, tier.unit_price))
            if tier.up_to is not None:
                below += (tier.up_to - low) * tier.unit_price
                low = tier.up_to
        object.__setattr__(self, "_borders", closed)
        object.__setattr__(self, "_lines", tuple(lines))
        object.__setattr__(self, "_at_zero", fee_at_zero(self.tiers))

    @classmethod
    def read(cls, fields: Fields) -> "Graduated":
        """Read `{model: graduated, tiers: [{up_to, unit_price, flat_fee}, ..., {unit_price}]}`."""
        fields.allow_only("model", "tiers")
        return cls(read_tiers(fields, priced=True))

    def charge(self, units: int) -> int:
        """Find the tier and evaluate its line."""
        if not units:
            return self._at_zero
        offset, price = self._lines[tier_at(self._borders, units)]
        return offset + units * price

    def steps(self, units: int) -> tuple[Step, ...]:
        """The units and the fee of every tier that was entered, from the first on."""
        if not units:
            fee = self._at_zero
            return (Step(StepKind.FLAT_FEE, fee, tier=1),) if fee else ()
        found = []
        low = 0
        entered = self.tiers[: tier_at(self._borders, units) + 1]
        for number, tier in enumerate(entered, 1):
            high = units if tier.up_to is None else min(units, tier.up_to)
            price = tier.unit_price
            found.append(Step(StepKind.UNITS, (high - low) * price, high - low, price, number))
            if tier.flat_fee:
                found.append(Step(StepKind.FLAT_FEE, tier.flat_fee, tier=number))
            low = high
        return tuple(found)

    def card_rows(self) -> tuple[CardRow, ...]:
        """Each tier's line, from where the tier begins."""
        return tuple(
            CardRow(low, offset + low * price, price)
            for low, (offset, price) in zip((0, *self._borders), self._lines, strict=True)
        )
