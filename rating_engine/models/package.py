"""Package: units are sold in packages, and a started one counts whole."""

from dataclasses import dataclass

from rating_engine.exact import ONE_PRICE, whole
from rating_engine.fields import Fields
from rating_engine.models.model import CardRow, Step, StepKind


@dataclass(frozen=True, slots=True)
class Package:
    """`size` is in 10^-12 units, `price` of one package in 10^-12 of the currency's unit. Monotone.

    Raises `ValueError` unless `size` is above zero.
    """

    size: int
    price: int

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(self.price, "price")
        if whole(self.size, "size") <= 0:
            message = f"size: expected more than 0, got {self.size}"
            raise ValueError(message)

    @classmethod
    def read(cls, fields: Fields) -> "Package":
        """Read `{model: package, package_size: "100", package_price: "5"}`."""
        fields.allow_only("model", "package_size", "package_price")
        return cls(fields.positive("package_size"), fields.decimal("package_price"))

    def charge(self, units: int) -> int:
        """Round the packages up and multiply."""
        packages = -(-units // self.size)
        return packages * (self.price * ONE_PRICE)

    def steps(self, units: int) -> tuple[Step, ...]:
        """One step, none for nothing."""
        if not units:
            return ()
        packages = -(-units // self.size)
        return (Step(StepKind.PACKAGES, self.charge(units), packages, self.price),)

    def card_rows(self) -> tuple[CardRow, ...]:
        """One row of packages."""
        return (CardRow(0, package_units=self.size, package_price=self.price * ONE_PRICE),)
