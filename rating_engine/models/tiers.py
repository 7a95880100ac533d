"""Tiers of a price: ranges of quantity that follow each other from zero, the last one open."""

from bisect import bisect_left
from dataclasses import dataclass

from rating_engine.exact import whole
from rating_engine.fields import Fields


@dataclass(frozen=True, slots=True)
class Tier:
    """From above the previous tier's `up_to` to `up_to`, inclusive; None where it is open.

    `up_to` is in 10^-12 units, `unit_price` in 10^-12 and `flat_fee` in 10^-24 of the currency's
    unit. The flat fee is due once the quantity enters the tier; at zero only with
    `flat_fee_at_zero`, which the first tier alone may have.
    """

    up_to: int | None
    unit_price: int = 0
    flat_fee: int = 0
    flat_fee_at_zero: bool = False

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(0 if self.up_to is None else self.up_to, "up_to")
        whole(self.unit_price, "unit_price")
        whole(self.flat_fee, "flat_fee")


Tiers = tuple[Tier, ...]


def borders(tiers: Tiers) -> tuple[int, ...]:
    """The inclusive upper ends of all tiers but the last, ascending, in 10^-12 units.

    Raises `ValueError` unless they ascend from above zero and the last tier alone is open.
    """
    closed = tuple(tier.up_to for tier in tiers if tier.up_to is not None)
    ascending = all(low < high for low, high in zip((0, *closed), closed, strict=False))
    if not tiers or tiers[-1].up_to is not None or len(closed) != len(tiers) - 1 or not ascending:
        message = f"tiers: expected ascending up_to and one open tier at the end, got {closed}"
        raise ValueError(message)
    return closed


def tier_at(closed: tuple[int, ...], units: int) -> int:
    """Position of the tier that holds `units`; a border belongs to the tier that it ends."""
    return bisect_left(closed, units)


def fee_at_zero(tiers: Tiers) -> int:
    """Find what is charged for nothing, in 10^-24 of the currency's unit."""
    return tiers[0].flat_fee if tiers[0].flat_fee_at_zero else 0


def read_tiers(fields: Fields, *, priced: bool) -> Tiers:
    """Read `tiers`, with a unit price where `priced` and with a flat fee alone otherwise.

    Always returns tiers that can be compiled; the faults say whether they are those of the file.
    """
    tiers = fields.children("tiers")
    read = [
        _read_tier(each, priced=priced, is_first=position == 0)
        for position, each in enumerate(tiers)
    ]
    low = 0
    for each, tier in zip(tiers[:-1], read[:-1], strict=True):
        if tier.up_to is None:
            each.fault("up_to", expected="a quantity in every tier but the last", got="nothing")
        elif tier.up_to <= low:
            got = repr(each.values["up_to"])
            each.fault(
                "up_to", expected="more than the tier before ends at, and more than 0", got=got
            )
        low = tier.up_to or low
    if read and read[-1].up_to is not None:
        got = repr(tiers[-1].values["up_to"])
        tiers[-1].fault("up_to", expected="nothing: the last tier is open", got=got)
    return (Tier(None),) if fields.faults else tuple(read)


def _read_tier(fields: Fields, *, priced: bool, is_first: bool) -> Tier:
    fees = ("flat_fee", "flat_fee_at_zero")
    fields.allow_only("up_to", *(("unit_price", *fees) if priced else fees))
    at_zero = fields.flag("flat_fee_at_zero")
    if at_zero and not is_first:
        fields.fault("flat_fee_at_zero", expected="it only in the first tier", got="true")
    if at_zero and not fields.has("flat_fee"):
        fields.fault("flat_fee", expected="a fee beside flat_fee_at_zero", got="nothing")
    return Tier(
        up_to=fields.decimal("up_to") if fields.has("up_to") else None,
        unit_price=fields.decimal("unit_price") if priced else 0,
        flat_fee=fields.money("flat_fee", default=0 if priced else None),
        flat_fee_at_zero=at_zero,
    )
