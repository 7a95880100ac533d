"""What is counted: shapes of those files for editors; `metering/catalog_load.py` reads them."""

from metering.catalog import Aggregation, Sensitivity
from rating_engine.price_book.shape import Field, Kind, Shape
from rating_engine.price_book.shapes import KEY_PATTERN

_REASON = Field("reason", Kind.TEXT, "Why, for people.", required=True)
_SUBJECT = Field("subject", Kind.TEXT, "A machine, a workspace, an asset.", required=True)
_GLOBS = ("subject", "customer_id", "meter", "source")

_METER = Shape(
    "meter",
    "What is counted. A key never changes its meaning: add a new one instead.",
    (
        Field("key", Kind.TEXT, "Its name, for good.", required=True, pattern=KEY_PATTERN),
        Field("unit", Kind.TEXT, "What a quantity counts: request, GB.", required=True),
        Field(
            "aggregation",
            Kind.TEXT,
            "How the events of a window become one number.",
            required=True,
            choices=tuple(str(each) for each in Aggregation),
        ),
        Field("group_by", Kind.TEXTS, "Dimensions that split totals and prices."),
        Field("allow_negative", Kind.FLAG, "Whether events may take back.", default=False),
        Field("counted_dimension", Kind.TEXT, "Whose distinct values a unique_count counts."),
        Field("alerts", Kind.SHAPE, "When its usage is alerted on.", of=("meter_alerts",)),
    ),
)
_METER_ALERTS = Shape(
    "meter_alerts",
    "How far usage may stray from the usual before somebody is told.",
    (
        Field("sensitivity", Kind.TEXT, "How little is enough.", default="normal",
              choices=tuple(str(each) for each in Sensitivity)),
        Field("minimum", Kind.TEXT, "The least change that matters, in the meter's unit."),
    ),
)  # fmt: skip
_BUDGET = Shape(
    "budget",
    "What a billing period may come to, of a customer or of each customer of a plan.",
    (
        Field("customer_id", Kind.TEXT, "Whose; or else a plan."),
        Field("plan", Kind.TEXT, "Of which plan; or else a customer."),
        Field("amount", Kind.TEXT, "In the plan's currency, in quotes.", required=True),
    ),
)
_BINDING = Shape(
    "binding",
    "Whose a subject is.",
    (
        _SUBJECT,
        Field("customer_id", Kind.TEXT, "Who pays.", required=True),
        Field("from", Kind.MOMENT, "The first moment, inclusive.", required=True),
        Field("until", Kind.MOMENT, "The end, exclusive; none where it goes on."),
    ),
)
_MATCH = Shape(
    "match",
    "Globs; every one that is given has to match, and one has to be given.",
    tuple(Field(name, Kind.TEXT, f"A glob of {name}, like test-*.") for name in _GLOBS),
)
_SUPPRESSION = Shape(
    "suppression",
    "Events that are dropped on purpose, counted by rule.",
    (
        Field("name", Kind.TEXT, "Its name; the globs, without one."),
        Field("match", Kind.SHAPE, "Which events.", required=True, of=("match",)),
        _REASON,
    ),
)
_DISREGARDED = Shape(
    "disregarded_subject",
    "A subject whose events are kept as history and never billed.",
    (_SUBJECT, _REASON),
)


def _file(name: str, says: str, *, of: Shape) -> Shape:
    return Shape(name, says, (Field(name, Kind.SHAPES, says, required=True, of=(of.name,)),))


COUNTED_SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (_METER, _METER_ALERTS, _BINDING, _MATCH, _SUPPRESSION, _DISREGARDED, _BUDGET)
}
COUNTED_FILES = (
    _file("meters", "What is counted.", of=_METER),
    _file("bindings", "Whose subjects are.", of=_BINDING),
    _file("suppressions", "Events that are dropped.", of=_SUPPRESSION),
    _file("disregarded", "Subjects that are not billed.", of=_DISREGARDED),
    _file("budgets", "What billing periods may come to.", of=_BUDGET),
)
