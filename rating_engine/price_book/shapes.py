"""The files of a price book, described once: `plans.yaml`, and a subscription in any format."""

from dataclasses import replace

from rating_engine.billing_period import ANCHOR_DAY_MAX
from rating_engine.money import Rounding
from rating_engine.price_book.shape import Field, Kind, Shape

KEY_PATTERN = r"^[a-z][a-z0-9_.-]{0,63}$"
VERSION_MAX = 1_000_000
_FLAT_FEE = Field("flat_fee", Kind.DECIMAL, "Due once the quantity enters the tier.", default="0")
_AT_ZERO = Field(
    "flat_fee_at_zero", Kind.FLAG, "Due for no usage as well; the first tier only.", default=False
)
_UP_TO = Field("up_to", Kind.DECIMAL, "The last quantity of the tier; the last tier has none.")
_UNIT_PRICE = Field("unit_price", Kind.DECIMAL, "Price of one unit.", required=True)
_ANCHOR = Field(
    "anchor_day",
    Kind.WHOLE,
    "Day of the month on which billing periods begin; the last day of a month that is shorter.",
    low=1,
    high=ANCHOR_DAY_MAX,
)
_ZONE = Field("time_zone", Kind.TEXT, "IANA time zone of the billing periods, like Europe/Berlin.")


def _tiers(of: str) -> Field:
    says = "Ranges of quantity, ascending; the last one open."
    return Field("tiers", Kind.SHAPES, says, required=True, of=(of,))


_MODELS = (
    Shape("per_unit", "Every unit costs the same.", (_UNIT_PRICE,), "per_unit"),
    Shape("graduated", "Each tier prices the units in it.", (_tiers("tier"),), "graduated"),
    Shape("volume", "The tier that is reached prices all units.", (_tiers("tier"),), "volume"),
    Shape(
        "package",
        "Units come in packages; a started one counts whole.",
        (
            Field("package_size", Kind.DECIMAL, "Units of a package.", required=True),
            Field("package_price", Kind.DECIMAL, "Price of a package.", required=True),
        ),
        "package",
    ),
    Shape(
        "stairstep",
        "The tier that is reached costs its flat fee.",
        (_tiers("stair"),),
        "stairstep",
    ),
    Shape(
        "percentage",
        "A share of the quantity, which is an amount of money.",
        (Field("percent", Kind.DECIMAL, "Percent of the quantity.", required=True),),
        "percentage",
    ),
)
MODEL_NAMES = tuple(shape.name for shape in _MODELS)

_PARTS = (
    Shape("tier", "A range with a price.", (_UP_TO, _UNIT_PRICE, _FLAT_FEE, _AT_ZERO)),
    Shape(
        "stair",
        "A range with a flat fee.",
        (
            _UP_TO,
            Field("flat_fee", Kind.DECIMAL, "What the tier costs.", required=True),
            _AT_ZERO,
        ),
    ),
    Shape(
        "dimensional",
        "A price by the values of a group, and a default.",
        (
            Field(
                "dimensions",
                Kind.TEXTS,
                "Dimensions in the meter's group_by.",
                required=True,
                low=1,
            ),
            Field(
                "prices",
                Kind.SHAPES,
                "A price for each combination.",
                required=True,
                of=("group_price",),
                sorted_by="values",
            ),
            Field(
                "default",
                Kind.CHOICE_OF_SHAPES,
                "The price of all other groups.",
                required=True,
                of=MODEL_NAMES,
            ),
        ),
        "dimensional",
    ),
    Shape(
        "group_price",
        "The price of one combination of values.",
        (
            Field("values", Kind.TEXT_MAP, "A value for each dimension.", required=True),
            Field("price", Kind.CHOICE_OF_SHAPES, "Its price.", required=True, of=MODEL_NAMES),
        ),
    ),
    Shape(
        "commit_bucket",
        "Units that a base fee pays for.",
        (
            Field("units", Kind.DECIMAL, "Units it covers; without them the allowance."),
            Field("base_fee", Kind.DECIMAL, "Due whether used or not.", required=True),
        ),
    ),
    Shape(
        "charge",
        "How one meter is charged in a billing period.",
        (
            Field("meter", Kind.TEXT, "A key of meters.yaml.", required=True, pattern=KEY_PATTERN),
            Field(
                "allowance",
                Kind.DECIMAL,
                "Included units: free, and the price begins after them.",
                default="0",
            ),
            Field("commit", Kind.SHAPE, "Units paid for in advance.", of=("commit_bucket",)),
            Field("minimum", Kind.DECIMAL, "The least that is charged.", default="0"),
            Field("cap", Kind.DECIMAL, "The most that is charged."),
            Field(
                "price",
                Kind.CHOICE_OF_SHAPES,
                "What the units cost.",
                required=True,
                of=(*MODEL_NAMES, "dimensional"),
            ),
        ),
    ),
    Shape(
        "period",
        "When billing periods begin, unless a subscription says otherwise.",
        (
            Field("every", Kind.TEXT, "Length.", default="month", choices=("month",)),
            replace(_ANCHOR, default=1),
            replace(_ZONE, default="UTC"),
        ),
    ),
)

VERSION = Shape(
    "version",
    "Prices from a moment on. Never edited once that moment has come: add a version.",
    (
        Field("version", Kind.WHOLE, "Its number.", required=True, low=1, high=VERSION_MAX),
        Field("effective_from", Kind.MOMENT, "The first moment, inclusive.", required=True),
        Field("base_fee", Kind.DECIMAL, "Due for a period, in proportion to time.", default="0"),
        Field("commit", Kind.DECIMAL, "What all charges come to at least.", default="0"),
        Field(
            "rounding",
            Kind.TEXT,
            "How an invoice line is rounded; the same in all versions of a plan.",
            default=Rounding.HALF_EVEN.value,
            choices=tuple(str(name) for name in Rounding),
        ),
        Field("charges", Kind.SHAPES, "One for each meter.", of=("charge",), sorted_by="meter"),
    ),
)
PLAN = Shape(
    "plan",
    "What customers subscribe to.",
    (
        Field("key", Kind.TEXT, "Its name, for good.", required=True, pattern=KEY_PATTERN),
        Field("currency", Kind.TEXT, "ISO 4217.", required=True, pattern="^[A-Z]{3}$"),
        Field("period", Kind.SHAPE, "Billing periods; calendar months in UTC.", of=("period",)),
        Field(
            "prorate_allowance",
            Kind.FLAG,
            "In a period that a change splits: a share of the allowance by time for each part "
            "(true), or all of it less what earlier parts used (false).",
            default=False,
        ),
        Field(
            "versions",
            Kind.SHAPES,
            "Price versions, ascending by number and time.",
            required=True,
            of=("version",),
        ),
    ),
)
SUBSCRIPTION = Shape(
    "subscription",
    "A customer has a plan for a time.",
    (
        Field("id", Kind.TEXT, "Its name, for good.", required=True),
        Field("customer_id", Kind.TEXT, "Who pays.", required=True),
        Field("plan", Kind.TEXT, "A key of plans.yaml.", required=True),
        Field(
            "version",
            Kind.WHOLE,
            "Pins a price version; without it the plan is followed.",
            low=1,
            high=VERSION_MAX,
        ),
        Field("from", Kind.MOMENT, "The first moment, inclusive.", required=True),
        Field("until", Kind.MOMENT, "The end, exclusive; none where it goes on."),
        _ANCHOR,
        _ZONE,
    ),
)
PLANS_FILE = Shape(
    "plans",
    "Plans and their price versions.",
    (Field("plans", Kind.SHAPES, "All plans.", required=True, of=("plan",)),),
)
SUBSCRIPTIONS_FILE = Shape(
    "subscriptions",
    "Who has which plan, and since when.",
    (Field("subscriptions", Kind.SHAPES, "All of them.", required=True, of=("subscription",)),),
)

#: Every shape by its name.
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        *_MODELS,
        *_PARTS,
        VERSION,
        PLAN,
        SUBSCRIPTION,
    )
}
