"""How quantities of one meter become one: events in a stretch of time, and stretches in a longer.

Usage adds up. A level (`max`, `latest`) does not: the most of two stretches is the most of both,
and the latest value is that of the last stretch in which one was reported. None stands for a
stretch in which nothing was; a level that was reported as 0 is 0.
"""

from collections.abc import Sequence

from metering.catalog import Aggregation

#: What is held rather than used up.
LEVELS = frozenset({Aggregation.MAX, Aggregation.LATEST})
#: A quantity in 10^-12 units, or None where nothing occurred.
Quantity = int | None


def combined(quantities: Sequence[Quantity], aggregation: Aggregation) -> Quantity:
    """One quantity of several in order of time; None where nothing occurred in any."""
    known = [each for each in quantities if each is not None]
    if not known:
        return None
    if aggregation is Aggregation.MAX:
        return max(known)
    if aggregation is Aggregation.LATEST:
        return known[-1]
    return sum(known)
