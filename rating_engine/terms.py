"""What a plan's version says about one meter, and about the plan as a whole, compiled.

The order of operations, from quantity to invoice line:

    1 allowance       included units; the model prices what is left, from its first tier on
    2 commit bucket   a base fee that covers its units; overage beyond, buffer where unused
    3 minimum         of the meter's charge
    4 cap             of the meter's charge; of a level in a part of a period, its share by time
    5 plan commit     what all charges together fall short of it is due as true-up
    6 base fee        of the plan, in proportion to time
    7 rounding        once for each line

1 to 4 are `ChargeTerms`, applied by `Rater` to one (customer, meter, group, billing period);
5 to 7 are `PlanTerms`, applied by `bill`.
"""

from dataclasses import dataclass, replace

from rating_engine.currency import Currency, CurrencyUnknown, currency
from rating_engine.exact import whole
from rating_engine.fields import Fields
from rating_engine.models.dimensional import Dimensional
from rating_engine.models.per_unit import PerUnit
from rating_engine.models.table import Price, read_price
from rating_engine.money import Rounding
from rating_engine.proration import Share

_STAND_IN = Currency("XXX", 0)


@dataclass(frozen=True, slots=True)
class CommitBucket:
    """`units` (10^-12) that are paid for by `base_fee` (10^-24 of the currency's unit)."""

    units: int
    base_fee: int

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(self.units, "units")
        whole(self.base_fee, "base_fee")


@dataclass(frozen=True, slots=True)
class ChargeTerms:
    """How one meter is charged in a billing period.

    `allowance` is in 10^-12 units, `minimum` and `cap` in 10^-24 of the currency's unit. Of what
    all of that comes to, `share` is due (None: the whole). Equal terms charge the same: that is
    what decides whether a change splits a period.
    """

    price: Price
    allowance: int = 0
    bucket: CommitBucket | None = None
    minimum: int = 0
    cap: int | None = None
    share: Share | None = None

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(self.allowance, "allowance")
        whole(self.minimum, "minimum")
        whole(0 if self.cap is None else self.cap, "cap")

    @property
    def depends_on_group(self) -> bool:
        """Whether groups of the meter are priced differently."""
        return isinstance(self.price, Dimensional)

    @property
    def covered(self) -> int:
        """Units (10^-12) that are charged by no model: allowance and commit bucket."""
        return self.allowance + (0 if self.bucket is None else self.bucket.units)

    def prorated(self, share: Share, *, units_too: bool) -> "ChargeTerms":
        """The terms of a part of the period.

        Fees, minimum and cap in proportion to time; allowance and bucket units where `units_too`.
        The fees of tiers are due for usage, not for time, and stay. All shares of a period add up
        to the whole exactly.
        """
        bucket = self.bucket
        if bucket is not None:
            units = share.of(bucket.units) if units_too else bucket.units
            bucket = CommitBucket(units, share.of(bucket.base_fee))
        return replace(
            self,
            allowance=share.of(self.allowance) if units_too else self.allowance,
            bucket=bucket,
            minimum=share.of(self.minimum),
            cap=None if self.cap is None else share.of(self.cap),
        )


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What holds for all meters of a plan's version.

    `base_fee` and `commit` are for a whole billing period, in 10^-24 of the currency's unit.
    `prorate_allowance` says what a split does to allowances and bucket units: a share by time for
    each part, or all of them less what the parts before have used.
    """

    currency: Currency
    base_fee: int = 0
    commit: int = 0
    rounding: Rounding = Rounding.HALF_EVEN
    prorate_allowance: bool = False

    def __post_init__(self) -> None:
        """Raise `TypeError` for what is not exact."""
        whole(self.base_fee, "base_fee")
        whole(self.commit, "commit")


def of_part(terms: ChargeTerms, share: Share, *, units_too: bool, is_level: bool) -> ChargeTerms:
    """`terms` of a whole period for the part of it that `share` is.

    Usage is charged where it occurs, so only what is due for time is prorated. A level is charged
    for as long as it is held: all that it costs is due in proportion to time, while what it is
    measured against (allowance, tiers) stays.
    """
    if share.is_whole:
        return terms
    return replace(terms, share=share) if is_level else terms.prorated(share, units_too=units_too)


def read_charge(fields: Fields) -> ChargeTerms:
    """Compile one entry of `charges`: `price`, `allowance`, `commit`, `minimum`, `cap`.

    `commit: {units: "1000", base_fee: "500"}` comes after the allowance; without `units` its base
    fee covers the allowance itself, which is then not free. `meter` is the caller's to read.
    Faults are added to those of `fields`.
    """
    fields.allow_only("meter", "allowance", "commit", "minimum", "cap", "price")
    allowance = fields.decimal("allowance", default=0)
    bucket = None
    commit = fields.child("commit") if fields.has("commit") else None
    if commit is not None:
        commit.allow_only("units", "base_fee")
        units, base_fee = commit.decimal("units", default=0), commit.money("base_fee")
        if not commit.has("units"):
            units, allowance = allowance, 0
        if not units:
            commit.fault(
                "units",
                expected="units, here or as allowance, that the base fee covers",
                got="none",
            )
        bucket = CommitBucket(units, base_fee)
    minimum = fields.money("minimum", default=0)
    cap = fields.money("cap") if fields.has("cap") else None
    if cap is not None and cap < minimum:
        got = f"{fields.values.get('cap')!r}, less than the minimum"
        fields.fault("cap", expected="the minimum or more", got=got)
    price = fields.child("price")
    return ChargeTerms(
        price=PerUnit(0) if price is None else read_price(price),  # 0 beside a fault only
        allowance=allowance,
        bucket=bucket,
        minimum=minimum,
        cap=cap,
    )


def read_plan(fields: Fields, *, currency_code: str, prorate_allowance: bool) -> PlanTerms:
    """Compile what a plan's version says beside its charges: `base_fee`, `commit`, `rounding`.

    Keys of the version that are read elsewhere are the caller's to allow. Currency and policy
    belong to the plan, so they are given. Faults are added to those of `fields`.
    """
    try:
        known = currency(currency_code)
    except CurrencyUnknown as error:
        known = _STAND_IN
        fields.fault("currency", expected="an ISO 4217 code with minor units", got=str(error))
    name = fields.values.get("rounding", Rounding.HALF_EVEN.value)
    if name not in tuple(Rounding):
        fields.fault("rounding", expected=f"one of {', '.join(Rounding)}", got=repr(name))
        name = Rounding.HALF_EVEN
    return PlanTerms(
        currency=known,
        base_fee=fields.money("base_fee", default=0),
        commit=fields.money("commit", default=0),
        rounding=Rounding(str(name)),
        prorate_allowance=prorate_allowance,
    )
