"""Per unit: every unit at one price."""

from dataclasses import dataclass

from rating_engine.exact import whole
from rating_engine.fields import Fields
from rating_engine.models.model import CardRow, Step, StepKind


@dataclass(frozen=True, slots=True)
class PerUnit:
    """`unit_price` is in 10^-12 of the currency's unit. Monotone."""

    unit_price: int

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(self.unit_price, "unit_price")

    @classmethod
    def read(cls, fields: Fields) -> "PerUnit":
        """Read `{model: per_unit, unit_price: "0.001"}`."""
        fields.allow_only("model", "unit_price")
        return cls(fields.decimal("unit_price"))

    def charge(self, units: int) -> int:
        """Multiply."""
        return units * self.unit_price

    def steps(self, units: int) -> tuple[Step, ...]:
        """One step, none for nothing."""
        if not units:
            return ()
        return (Step(StepKind.UNITS, self.charge(units), units, self.unit_price),)

    def card_rows(self) -> tuple[CardRow, ...]:
        """One line through zero."""
        return (CardRow(0, unit_price=self.unit_price),)
