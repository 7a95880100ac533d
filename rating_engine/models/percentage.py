"""Percentage: a share of the quantity, which is itself an amount in the plan's currency."""

from dataclasses import dataclass

from rating_engine.exact import whole
from rating_engine.fields import Fields
from rating_engine.models.model import CardRow, Step, StepKind


@dataclass(frozen=True, slots=True)
class Percentage:
    """`share` is in 10^-12: 1.2 percent are 12 000 000 000. Monotone."""

    share: int

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(self.share, "share")

    @classmethod
    def read(cls, fields: Fields) -> "Percentage":
        """Read `{model: percentage, percent: "1.2"}`; at most 10 digits behind the point."""
        fields.allow_only("model", "percent")
        return cls(fields.percent("percent"))

    def charge(self, units: int) -> int:
        """Multiply."""
        return units * self.share

    def steps(self, units: int) -> tuple[Step, ...]:
        """One step, none for nothing."""
        if not units:
            return ()
        return (Step(StepKind.UNITS, self.charge(units), units, self.share),)

    def card_rows(self) -> tuple[CardRow, ...]:
        """One line through zero."""
        return (CardRow(0, unit_price=self.share),)
