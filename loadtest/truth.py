"""The generator's own bookkeeping: what must come out, written down as each event is made.

Independent of the pipeline by construction: it never parses a message and shares no code. Sums
are whole numbers of 10^-12 units in Python integers.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal

import orjson

from loadtest.meters import UNITS_PER_ONE, Aggregation, Meter
from loadtest.outcome import Outcome, Total, TotalKey
from loadtest.usage import Usage

_HOUR_S = 3600
_US_PER_S = 1_000_000
#: Wide enough that no total is ever rounded: Decimal(76, 12).
_EXACT = Context(prec=90)


@dataclass(slots=True)
class _Window:
    units: int
    events: int
    last_us: int


class Truth:
    """Counts what was produced; call it in the order of each partition's log.

    The order matters for one thing only: a unique value counts in the window of its first event.
    """

    def __init__(self) -> None:
        """Nothing was produced yet."""
        self._windows: dict[TotalKey, _Window] = {}
        self._seen: set[tuple[str, str, str, int, int, str]] = set()
        self._rejected: Counter[str] = Counter()
        self.accepted = 0
        self.duplicates = 0
        self.suppressed = 0
        self.disregarded = 0
        self.late = 0

    @property
    def accounted(self) -> int:
        """Events written down so far, whatever became of them."""
        return self.accepted + self.duplicates + self.suppressed + self._rejected.total()

    def accept(self, usage: Usage) -> None:
        """It is kept in raw history and counted in its window."""
        self.accepted += 1
        self.late += usage.late
        group = group_text(usage.meter, usage.dimensions)
        hour = usage.occurred_us // _US_PER_S // _HOUR_S * _HOUR_S
        key = TotalKey(usage.customer_id, usage.meter.name, group, hour)
        units = self._contribution(usage, group)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(units, 1, usage.occurred_us)
            return
        window.events += 1
        _fold(window, usage, units)

    def disregard(self, usage: Usage) -> None:
        """It is kept in raw history, and counted nowhere."""
        self.accepted += 1
        self.disregarded += 1
        self.late += usage.late

    def duplicate(self) -> None:
        """It repeats an earlier event: recorded, not counted."""
        self.duplicates += 1

    def suppress(self) -> None:
        """An operator's rule drops it."""
        self.suppressed += 1

    def reject(self, code: str) -> None:
        """It is kept as a reject under this code."""
        self._rejected[code] += 1

    def outcome(self) -> Outcome:
        """All of it as numbers to compare."""
        return Outcome(
            accepted=self.accepted,
            duplicates=self.duplicates,
            suppressed=self.suppressed,
            disregarded=self.disregarded,
            late=self.late,
            rejected=dict(self._rejected),
            totals={
                key: Total(decimal_of_units(window.units), window.events)
                for key, window in self._windows.items()
            },
        )

    def _contribution(self, usage: Usage, group: str) -> int:
        """What this event brings to its window, in units of 10^-12."""
        if usage.meter.aggregation is Aggregation.COUNT:
            return UNITS_PER_ONE
        if usage.meter.aggregation is not Aggregation.UNIQUE_COUNT:
            return usage.quantity.units
        month = datetime.fromtimestamp(usage.occurred_us // _US_PER_S, UTC)
        value = usage.dimensions[usage.meter.counted_dimension]
        seen = (usage.customer_id, usage.meter.name, group, month.year, month.month, value)
        if seen in self._seen:
            return 0
        self._seen.add(seen)
        return UNITS_PER_ONE


def _fold(window: _Window, usage: Usage, units: int) -> None:
    match usage.meter.aggregation:
        case Aggregation.SUM | Aggregation.COUNT | Aggregation.UNIQUE_COUNT:
            window.units += units
        case Aggregation.MAX:
            window.units = max(window.units, units)
        case Aggregation.LATEST:
            assert usage.occurred_us != window.last_us, f"the latest must be one: {usage}"
            if usage.occurred_us > window.last_us:
                window.units, window.last_us = units, usage.occurred_us


def group_text(meter: Meter, dimensions: dict[str, str]) -> str:
    """The group that an event belongs to: sorted keys, compact, a missing key as empty text."""
    if not meter.group_by:
        return "{}"
    return orjson.dumps(
        {key: dimensions.get(key, "") for key in meter.group_by}, option=orjson.OPT_SORT_KEYS
    ).decode()


def decimal_of_units(units: int) -> Decimal:
    """Whole units of 10^-12 as an exact Decimal."""
    return Decimal(units).scaleb(-12, _EXACT)
