"""Volume: all units at the price of the tier that the whole quantity falls into, and its fee."""

from dataclasses import dataclass, field

from rating_engine.fields import Fields
from rating_engine.models.model import CardRow, Step, StepKind
from rating_engine.models.tiers import Tiers, borders, fee_at_zero, read_tiers, tier_at


@dataclass(frozen=True, slots=True)
class Volume:
    """Not monotone: entering a cheaper tier makes all units cheaper.

    Raises `ValueError` for tiers that do not follow each other.
    """

    tiers: Tiers
    _borders: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the borders for the look-up."""
        object.__setattr__(self, "_borders", borders(self.tiers))

    @classmethod
    def read(cls, fields: Fields) -> "Volume":
        """Read `{model: volume, tiers: [{up_to, unit_price, flat_fee}, ..., {unit_price}]}`."""
        fields.allow_only("model", "tiers")
        return cls(read_tiers(fields, priced=True))

    def charge(self, units: int) -> int:
        """Find the tier; its price for all, and its fee."""
        if not units:
            return fee_at_zero(self.tiers)
        tier = self.tiers[tier_at(self._borders, units)]
        return units * tier.unit_price + tier.flat_fee

    def steps(self, units: int) -> tuple[Step, ...]:
        """The units, and the fee of the tier where it has one."""
        if not units:
            fee = fee_at_zero(self.tiers)
            return (Step(StepKind.FLAT_FEE, fee, tier=1),) if fee else ()
        at = tier_at(self._borders, units)
        tier = self.tiers[at]
        steps = (Step(StepKind.UNITS, units * tier.unit_price, units, tier.unit_price, at + 1),)
        if not tier.flat_fee:
            return steps
        return (*steps, Step(StepKind.FLAT_FEE, tier.flat_fee, tier=at + 1))

    def card_rows(self) -> tuple[CardRow, ...]:
        """Each tier's price for the units below it as well, and its fee."""
        return tuple(
            CardRow(low, tier.flat_fee + low * tier.unit_price, tier.unit_price)
            for low, tier in zip((0, *self._borders), self.tiers, strict=True)
        )
