"""The lines of one subscription's billing period: charges, true-up, base fee, each rounded once.

Exact charges come in, money that can be paid goes out. The total is the sum of the lines, so an
invoice adds up to what stands at its foot. Where the charges fall short of the plan's commit, the
true-up is what is missing on their rounded lines: charges and true-up add up to the commit to the
cent, not nearly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import reduce
from itertools import groupby, pairwise
from operator import add, attrgetter

from metering.catalog import Aggregation
from rating_engine.combine import Quantity
from rating_engine.exact import whole
from rating_engine.money import CurrencyMismatch, Money, rounded
from rating_engine.period_rater import GroupKey, PeriodRater, RatedPart, Span
from rating_engine.proration import Share
from rating_engine.rater import CommitUse, Rated


class LineKind(StrEnum):
    """What a line is for, in the order in which lines come."""

    CHARGE = "charge"
    TRUE_UP = "true_up"
    BASE_FEE = "base_fee"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `exact` (10^-24 of the currency's unit) before rounding, `amount` after it.

    `spans` are the first and the last span that it is for (positions, both inclusive). `rated`,
    `commit_use` and `part` (what rated it; not compared) belong to charges.
    """

    kind: LineKind
    spans: tuple[int, int]
    exact: int
    amount: Money
    meter: str = ""
    group: GroupKey = ()
    rated: Rated | None = None
    commit_use: CommitUse | None = None
    part: RatedPart | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Bill:
    """All lines, charges first, and their sum.

    `commit` and `used` are the plan commit of the period and what all charges come to, exact
    (10^-24). `unpriced` lists usage that no charge is for: meter, group, span, 10^-12 units.
    """

    lines: tuple[Line, ...]
    total: Money
    commit: int
    used: int
    unpriced: tuple[tuple[str, GroupKey, int, int], ...]


Usage = Mapping[tuple[str, GroupKey], Sequence[Quantity]]
#: By meter; one that is not in it adds up.
Aggregations = Mapping[str, Aggregation]
_ALL_ADD_UP: Aggregations = {}


def bill(
    spans: Sequence[Span], usage: Usage, *, period: int, aggregations: Aggregations = _ALL_ADD_UP
) -> Bill:
    """Work out the lines of a billing period of `period` microseconds.

    `usage` is, for each meter and group, the quantity (10^-12 units) that occurred in each of
    `spans`, in their order; None where nothing did. `aggregations` says which meters are levels:
    where a change changed nothing for a meter, its quantities become one accordingly.
    A meter that was not used is charged where something is due for nothing. Lines come by meter,
    group and time, whatever the order of `usage`.
    Raises `CurrencyMismatch` where the plans of `spans` differ in currency or rounding, and
    `ValueError` for spans with a gap between them.
    """
    if not spans or any(low.end != high.start for low, high in pairwise(spans)):
        message = "spans: expected one or more, each from where the last ends"
        raise ValueError(message)
    first = spans[0].plan
    for span in spans:
        if (span.plan.currency, span.plan.rounding) != (first.currency, first.rounding):
            message = f"expected one currency and rounding in a period, got {first}, {span.plan}"
            raise CurrencyMismatch(message)
    unpriced = tuple(
        (meter, group, at, quantity)
        for (meter, group), quantities in sorted(usage.items())
        for at, (span, quantity) in enumerate(zip(spans, quantities, strict=True))
        if quantity is not None and whole(quantity, "quantity") and meter not in span.charges
    )
    charges = [
        line
        for (meter, group), quantities in sorted(_with_idle(spans, usage).items())
        for line in _charge_lines(
            spans,
            quantities,
            key=(meter, group),
            period=period,
            aggregation=aggregations.get(meter, Aggregation.SUM),
        )
    ]
    used = sum(line.exact for line in charges)
    commit = sum(_share(span, period).of(span.plan.commit) for span in spans)
    lines = [
        *charges,
        *_true_up(spans, charges, commit=commit),
        *_base_fees(spans, period),
    ]
    nothing = Money(first.currency, 0)
    total = reduce(add, (line.amount for line in lines), nothing)
    return Bill(tuple(lines), total, commit, used, unpriced)


def _share(span: Span, period: int) -> Share:
    return Share(span.start, span.end, period)


def _with_idle(spans: Sequence[Span], usage: Usage) -> Usage:
    metered = {meter for meter, _ in usage}
    idle = sorted({meter for span in spans for meter in span.charges} - metered)
    return {**usage, **{(meter, ()): [0] * len(spans) for meter in idle}}


def _charge_lines(
    spans: Sequence[Span],
    quantities: Sequence[Quantity],
    *,
    key: tuple[str, GroupKey],
    period: int,
    aggregation: Aggregation,
) -> list[Line]:
    meter, group = key
    rater = PeriodRater(spans, meter, period=period, group=group, aggregation=aggregation)
    return [
        Line(
            kind=LineKind.CHARGE,
            spans=part.spans,
            exact=part.rated.charge,
            amount=rounded(part.rated.charge, plan.currency, rounding=plan.rounding),
            meter=meter,
            group=group,
            rated=part.rated,
            commit_use=part.rater.commit_use(part.rated.quantity, part.used_before),
            part=part,
        )
        for part in rater.rate(quantities)
        if part.rated.quantity or part.rated.charge
        for plan in (spans[part.spans[0]].plan,)
    ]


def _true_up(spans: Sequence[Span], charges: Sequence[Line], *, commit: int) -> list[Line]:
    plan = spans[0].plan
    nothing = Money(plan.currency, 0)
    missing = commit - sum(line.exact for line in charges)
    lines = reduce(add, (line.amount for line in charges), nothing)
    amount = rounded(commit, plan.currency, rounding=plan.rounding) - lines
    if missing <= 0 or amount.minor <= 0:
        return []
    return [Line(LineKind.TRUE_UP, (0, len(spans) - 1), missing, amount)]


def _base_fees(spans: Sequence[Span], period: int) -> list[Line]:
    found = []
    at = 0
    for fee, run in groupby(spans, key=attrgetter("plan.base_fee")):
        stretch = list(run)
        first, last = stretch[0], stretch[-1]
        if fee:
            exact = Share(first.start, last.end, period).of(fee)
            amount = rounded(exact, first.plan.currency, rounding=first.plan.rounding)
            found.append(Line(LineKind.BASE_FEE, (at, at + len(stretch) - 1), exact, amount))
        at += len(stretch)
    return found
