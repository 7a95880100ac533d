"""What the operator says about events: meters, bindings, suppressions, disregarded subjects.

Plain values and look-ups, no I/O; `metering/catalog_load.py` reads and checks the files.
"""

import hashlib
import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fnmatch import translate

#: Outcomes of suppression rules that are kept; a full memory starts again.
_OUTCOMES_KEPT_MAX = 100_000
_NEVER_US = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Aggregation(StrEnum):
    """How the events of one window become one number."""

    SUM = "sum"
    COUNT = "count"
    MAX = "max"
    LATEST = "latest"
    UNIQUE_COUNT = "unique_count"

    @property
    def needs_quantity(self) -> bool:
        """False where an event without a quantity stands for 1."""
        return self not in (Aggregation.COUNT, Aggregation.UNIQUE_COUNT)


class Sensitivity(StrEnum):
    """How much usage has to stray from the usual before somebody is told."""

    OFF = "off"
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class MeterAlerts:
    """What alerts on a meter's usage ask for: a change below `minimum` (of its unit) is none."""

    sensitivity: Sensitivity = Sensitivity.NORMAL
    minimum: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Meter:
    """What is counted: `group_by` names the dimensions that split totals, in any order.

    `counted_dimension` is the dimension whose distinct values a unique_count meter counts; only
    such a meter has one. `alerts` changes nothing that is counted, and no hash.
    """

    key: str
    unit: str
    aggregation: Aggregation
    group_by: tuple[str, ...] = ()
    allow_negative: bool = False
    counted_dimension: str | None = None
    alerts: MeterAlerts = MeterAlerts()


@dataclass(frozen=True, slots=True)
class Binding:
    """A subject belongs to a customer from `from_` (inclusive) until `until` (exclusive)."""

    subject: str
    customer_id: str
    from_: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """Events that are dropped: every glob (`*`, `?`, `[...]`) that is given has to match."""

    name: str
    reason: str
    subject: str | None = None
    customer_id: str | None = None
    meter: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Disregarded:
    """A subject whose events are kept as history and never billed."""

    subject: str
    reason: str


@dataclass(frozen=True, eq=False)
class Catalog:
    """All of it, with the look-ups that the decoder makes for every event.

    Built from entries that were checked (`load_catalog`); bindings of a subject do not overlap.
    Where several rules match an event, the first by name counts: the order in a file means nothing.
    """

    meters: dict[str, Meter]
    bindings: tuple[Binding, ...] = ()
    rules: tuple[SuppressionRule, ...] = ()
    disregarded: tuple[Disregarded, ...] = ()
    content_hash: str = field(init=False)
    _spans: dict[str, list[tuple[int, int, str]]] = field(init=False, repr=False)
    _patterns: list[tuple[str, list[re.Pattern[str] | None]]] = field(init=False, repr=False)
    _outcomes: dict[tuple[str, str, str, str], str | None] = field(init=False, repr=False)
    _disregarded: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay out what the look-ups need."""
        spans: dict[str, list[tuple[int, int, str]]] = {}
        for binding in sorted(self.bindings, key=lambda each: (each.subject, each.from_)):
            end = _NEVER_US if binding.until is None else _microseconds(binding.until)
            span = (_microseconds(binding.from_), end, binding.customer_id)
            spans.setdefault(binding.subject, []).append(span)
        patterns = [
            (rule.name, [_compiled(glob) for glob in _globs(rule)])
            for rule in sorted(self.rules, key=lambda each: each.name)
        ]
        subjects = frozenset(entry.subject for entry in self.disregarded)
        object.__setattr__(self, "_spans", spans)
        object.__setattr__(self, "_patterns", patterns)
        object.__setattr__(self, "_outcomes", {})
        object.__setattr__(self, "_disregarded", subjects)
        object.__setattr__(self, "content_hash", _content_hash(self))

    @property
    def fields_of_rules(self) -> frozenset[str]:
        """Which of subject, customer_id, meter and source any suppression rule looks at."""
        names = ("subject", "customer_id", "meter", "source")
        return frozenset(
            name
            for rule in self.rules
            for name, glob in zip(names, _globs(rule), strict=True)
            if glob is not None
        )

    def resolve_subject(self, subject: str, occurred_us: int) -> str | None:
        """Find the customer of `subject` at `occurred_us` (Unix microseconds UTC), if any."""
        spans = self._spans.get(subject)
        if spans is None:
            return None
        at = bisect_right(spans, occurred_us, key=_start_us) - 1
        if at < 0 or occurred_us >= spans[at][1]:
            return None
        return spans[at][2]

    def suppression(self, subject: str, customer_id: str, meter: str, source: str) -> str | None:
        """Name of the first rule (by name) that drops such an event; None: no rule does.

        What an event does not have is the empty text. Answers are remembered per distinct four.
        """
        if not self._patterns:
            return None
        values = (subject, customer_id, meter, source)
        try:
            return self._outcomes[values]
        except KeyError:
            if len(self._outcomes) >= _OUTCOMES_KEPT_MAX:
                self._outcomes.clear()
        name = next((name for name, globs in self._patterns if _all_match(globs, values)), None)
        self._outcomes[values] = name
        return name

    def is_disregarded(self, subject: str) -> bool:
        """Whether events of `subject` are kept and not billed."""
        return subject in self._disregarded


def _start_us(span: tuple[int, int, str]) -> int:
    return span[0]


def _globs(rule: SuppressionRule) -> tuple[str | None, ...]:
    return (rule.subject, rule.customer_id, rule.meter, rule.source)


def _compiled(glob: str | None) -> re.Pattern[str] | None:
    return None if glob is None else re.compile(translate(glob))


def _all_match(globs: list[re.Pattern[str] | None], values: tuple[str, str, str, str]) -> bool:
    return all(
        glob is None or glob.match(value) is not None
        for glob, value in zip(globs, values, strict=True)
    )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _content_hash(catalog: Catalog) -> str:
    content = {
        "meters": sorted(
            [m.key, m.unit, m.aggregation, sorted(m.group_by), m.allow_negative]
            + ([m.counted_dimension] if m.counted_dimension is not None else [])
            for m in catalog.meters.values()
        ),
        "bindings": sorted(
            [b.subject, _microseconds(b.from_), b.customer_id]
            + ([_microseconds(b.until)] if b.until is not None else [])
            for b in catalog.bindings
        ),
        "suppressions": sorted(
            [r.name, r.reason, *(["any"] if g is None else ["glob", g] for g in _globs(r))]
            for r in catalog.rules
        ),
        "disregarded": sorted([d.subject, d.reason] for d in catalog.disregarded),
    }
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
