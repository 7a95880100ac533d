"""Stairstep: one fee for the tier that the whole quantity falls into, however much of it is used.

Where the fees of all tiers below are due as well, it is `graduated` with unit prices of 0.
"""

from dataclasses import dataclass, field

from rating_engine.fields import Fields
from rating_engine.models.model import CardRow, Step, StepKind
from rating_engine.models.tiers import Tiers, borders, fee_at_zero, read_tiers, tier_at


@dataclass(frozen=True, slots=True)
class Stairstep:
    """Monotone where the fees ascend. Unit prices of the tiers count for nothing.

    Raises `ValueError` for tiers that do not follow each other.
    """

    tiers: Tiers
    _borders: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the borders for the look-up."""
        object.__setattr__(self, "_borders", borders(self.tiers))

    @classmethod
    def read(cls, fields: Fields) -> "Stairstep":
        """Read `{model: stairstep, tiers: [{up_to: "10", flat_fee: "50"}, {flat_fee: "100"}]}`."""
        fields.allow_only("model", "tiers")
        return cls(read_tiers(fields, priced=False))

    def charge(self, units: int) -> int:
        """Find the tier and charge its fee."""
        if not units:
            return fee_at_zero(self.tiers)
        return self.tiers[tier_at(self._borders, units)].flat_fee

    def steps(self, units: int) -> tuple[Step, ...]:
        """One fee, none where it is zero."""
        fee = self.charge(units)
        at = tier_at(self._borders, units)
        return (Step(StepKind.FLAT_FEE, fee, units, tier=at + 1),) if fee else ()

    def card_rows(self) -> tuple[CardRow, ...]:
        """A fee for each tier."""
        lows = (0, *self._borders)
        return tuple(
            CardRow(low, tier.flat_fee) for low, tier in zip(lows, self.tiers, strict=True)
        )
