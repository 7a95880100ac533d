"""Where a period ends up if usage goes on as it did so far."""

from collections.abc import Sequence

from metering.catalog import Aggregation
from rating_engine.combine import Quantity
from rating_engine.period_rater import Span

_LEVELS = (Aggregation.MAX, Aggregation.LATEST)


def projected(
    spans: Sequence[Span], quantities: Sequence[Quantity], *, moment: int, aggregation: Aggregation
) -> list[Quantity] | None:
    """The quantity of each span at the end of the period; None where no time has passed.

    `quantities` (10^-12 units) are those until `moment`, in microseconds since the period's start.
    What adds up goes on at the rate since the first span began, rounded down to 10^-12; a level
    (max, latest) stays where it is, in the span of the moment.
    """
    if aggregation in _LEVELS:
        return list(quantities)
    elapsed = moment - spans[0].start
    if elapsed <= 0:
        return None
    total = sum(quantity or 0 for quantity in quantities)
    return [
        (quantity or 0) + total * max(span.end - max(span.start, moment), 0) // elapsed
        for span, quantity in zip(spans, quantities, strict=True)
    ]
