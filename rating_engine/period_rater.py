"""One meter and group over a whole billing period, whatever prices it from when to when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from metering.catalog import Aggregation
from rating_engine.combine import Quantity
from rating_engine.rater import Rated, Rater
from rating_engine.split import Segment, SplitRater
from rating_engine.terms import ChargeTerms, PlanTerms

#: A group's values as pairs, sorted by dimension; () where a meter has no groups.
GroupKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A plan's version from `start` (inclusive) to `end` (exclusive), microseconds into the period.

    `charges` is by meter; a meter that is not in it is not charged.
    """

    start: int
    end: int
    plan: PlanTerms
    charges: Mapping[str, ChargeTerms]


class RatedPart(NamedTuple):
    """A stretch that is priced by one set of terms from its first tier on, and what it comes to.

    `spans` are its first and last span (positions, both inclusive). `used_before` are included
    units (10^-12) that earlier parts have used; with them `rater` gives the steps of the charge.
    """

    spans: tuple[int, int]
    rated: Rated
    rater: Rater
    used_before: int


class PeriodRater:
    """Rates what occurred in each span; spans that do not charge the meter cost nothing.

    What is rated together (an allowance that is carried over) ends where the meter is not charged.
    """

    __slots__ = ("_stretches",)

    def __init__(
        self,
        spans: Sequence[Span],
        meter: str,
        *,
        period: int,
        group: GroupKey = (),
        aggregation: Aggregation = Aggregation.SUM,
    ) -> None:
        """`spans` follow each other without a gap; `period` is its length in microseconds."""
        self._stretches: list[tuple[int, SplitRater]] = []
        at = 0
        for is_priced, run in groupby(spans, key=lambda span: meter in span.charges):
            stretch = list(run)
            if is_priced:
                segments = [
                    Segment(span.start, span.end, span.charges[meter], span.plan.prorate_allowance)
                    for span in stretch
                ]
                rater = SplitRater(segments, period, group=dict(group), aggregation=aggregation)
                self._stretches.append((at, rater))
            at += len(stretch)

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """First and last span of every part, in order."""
        return tuple(
            (at + rater.part_of.index(part), at + len(rater.part_of) - 1 - last)
            for at, rater in self._stretches
            for part in range(len(rater.merged))
            for last in (rater.part_of[::-1].index(part),)
        )

    def rate(self, quantities: Sequence[Quantity]) -> tuple[RatedPart, ...]:
        """Rate each part. `quantities` (10^-12 units) are those of all spans, in their order."""
        spans = iter(self.parts)
        found = []
        for at, rater in self._stretches:
            rated = rater.rate(quantities[at : at + len(rater.part_of)])
            found += [
                RatedPart(next(spans), each, rater.rater_of(part), rater.used_before(rated, part))
                for part, each in enumerate(rated)
            ]
        return tuple(found)

    def total(self, quantities: Sequence[Quantity]) -> Rated:
        """All parts together; the fast path, asked for every event that is explained."""
        total = Rated(0, 0, 0, 0)
        for at, rater in self._stretches:
            for each in rater.rate(quantities[at : at + len(rater.part_of)]):
                total = Rated(*(a + b for a, b in zip(total, each, strict=True)))
        return total
