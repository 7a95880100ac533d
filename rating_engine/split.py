"""A billing period in which price or plan changed: it is split at that moment, and rated by parts.

Each part is priced by its own terms from its first tier on; fees, minimum and cap are due in
proportion to time. Its allowance (and the units of a commit bucket) follow the policy of its plan:

    prorate_allowance: true    a share by time; what a part leaves unused is lost with it
    prorate_allowance: false   all of it, less what the parts before have used

A level (`max`, `latest`) is held, not used up: each part is charged for its own level, by all of
its allowance and tiers, in proportion to time.

Parts that follow each other with equal terms and policy are one: a change that changes nothing
splits nothing. Their quantities become one by the meter's aggregation: usage adds up, a level
(`max`, `latest`) does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from metering.catalog import Aggregation
from rating_engine.combine import LEVELS, Quantity, combined
from rating_engine.models.model import Group
from rating_engine.proration import Share
from rating_engine.rater import Rated, Rater
from rating_engine.terms import ChargeTerms, of_part


@dataclass(frozen=True, slots=True)
class Segment:
    """The terms of one meter from `start` (inclusive) to `end` (exclusive) within a period.

    Both are microseconds since the period's start. `terms` are those of a whole period.
    """

    start: int
    end: int
    terms: ChargeTerms
    prorate_allowance: bool = False

    def continues(self, before: "Segment") -> bool:
        """Whether nothing changed between `before` and this."""
        return self.terms == before.terms and self.prorate_allowance == before.prorate_allowance


class SplitRater:
    """Rates the parts of a period together; one for each (customer, meter, group, period).

    A quantity is known for each segment by `occurred_at`; the charge is a function of all of them,
    so events may come in any order and still add up. Where allowance is carried over, an event of
    an early part may raise the charge of a later one; its charge holds both.
    """

    __slots__ = ("_aggregation", "_raters", "carried", "merged", "part_of")

    def __init__(
        self,
        segments: Sequence[Segment],
        period: int,
        *,
        group: Group | None = None,
        aggregation: Aggregation = Aggregation.SUM,
    ) -> None:
        """`segments` follow each other without a gap; `period` is its length in microseconds.

        Where a subscription begins or ends within the period, so do they. `aggregation` is the
        meter's. `part_of` says which part each segment belongs to, `carried` of each part whether
        earlier ones have used from its allowance. Raises `ValueError` for a gap,
        an overlap or none at all.
        """
        if not segments or any(low.end != high.start for low, high in pairwise(segments)):
            message = f"segments: expected one or more, each from where the last ends: {segments}"
            raise ValueError(message)
        parts: list[list[Segment]] = []
        part_of = []
        for segment in segments:
            if parts and segment.continues(parts[-1][-1]):
                parts[-1].append(segment)
            else:
                parts.append([segment])
            part_of.append(len(parts) - 1)
        self.part_of: tuple[int, ...] = tuple(part_of)
        self.merged = tuple(
            Segment(part[0].start, part[-1].end, part[0].terms, part[0].prorate_allowance)
            for part in parts
        )
        is_level = aggregation in LEVELS
        self._raters = [
            Rater(
                of_part(
                    part.terms,
                    Share(part.start, part.end, period),
                    units_too=part.prorate_allowance,
                    is_level=is_level,
                ),
                group,
            )
            for part in self.merged
        ]
        self._aggregation = aggregation
        self.carried = [not (part.prorate_allowance or is_level) for part in self.merged]

    def rate(self, quantities: Sequence[Quantity]) -> tuple[Rated, ...]:
        """Rate each part; `quantities` (10^-12 units) are those of the segments, in their order.

        None where nothing occurred; for what adds up that is the same as 0.
        """
        own: list[list[Quantity]] = [[] for _ in self.merged]
        for part, quantity in zip(self.part_of, quantities, strict=True):
            own[part].append(quantity)
        values = [combined(each, self._aggregation) or 0 for each in own]
        rated = []
        used = 0
        for rater, value, carries in zip(self._raters, values, self.carried, strict=True):
            each = rater.rate(value, used if carries else 0)
            used += each.included
            rated.append(each)
        return tuple(rated)

    def rate_event(self, before: Sequence[Quantity], *, segment: int, units: int) -> Rated:
        """The difference that an event of `units` (10^-12) in `segment` makes to the whole period.

        Of a `latest` meter it is the segment's newest.
        """
        after = list(before)
        after[segment] = combined([before[segment], units], self._aggregation)
        return _sum(self.rate(after)).since(_sum(self.rate(before)))

    def rater_of(self, part: int) -> Rater:
        """The compiled terms of a part, for its steps and its commit bucket."""
        return self._raters[part]

    def used_before(self, rated: Sequence[Rated], part: int) -> int:
        """Included units (10^-12) of earlier parts that count against those of `part`."""
        return sum(each.included for each in rated[:part]) if self.carried[part] else 0


def carries_over(rater: SplitRater) -> bool:
    """Whether what an earlier part used can change what a later one costs."""
    covered = [rater.rater_of(part).terms.covered for part in range(len(rater.merged))]
    return any(
        rater.carried[at] and covered[at] and any(covered[:at]) for at in range(len(rater.merged))
    )


def _sum(rated: Sequence[Rated]) -> Rated:
    return Rated(*(sum(column) for column in zip(*rated, strict=True)))
