"""A finding: something about a customer's usage that somebody should know, and its identity."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from enum import StrEnum

#: Digits of a SHA-256 that name a finding.
_ID_DIGITS = 32
#: Digits of what was observed that people are told of.
_TOLD_DIGITS = Context(prec=6)
#: The threshold of a limit that will be exceeded if usage goes on as it did.
PROJECTED = "projected"


class FindingKind(StrEnum):
    """What is found; the first four are anomalies, the others thresholds that were crossed."""

    SPIKE = "spike"
    DROP = "drop"
    SILENCE = "silence"
    DELTA = "delta"
    ALLOWANCE = "allowance"
    COMMIT = "commit"
    BUDGET = "budget"

    @property
    def is_anomaly(self) -> bool:
        """Whether it is over when usage is as usual again; a threshold, when its period ends."""
        return self in (FindingKind.SPIKE, FindingKind.DROP, FindingKind.SILENCE, FindingKind.DELTA)


class FindingState(StrEnum):
    """Where a finding stands; each is written and told once."""

    OPENED = "opened"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class FindingKey:
    """What a finding is about. `group` and `meter` are "" where it is about all of them.

    `threshold` is 50, 80, 100 or projected, or how a delta went (up, down); "" for others.
    """

    kind: FindingKind
    customer_id: str
    meter: str
    group: str = ""
    threshold: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as it was opened.

    `window_start` is the end of the hour in which an anomaly was seen first, or the start of the
    billing period of a threshold; with the key it makes the identity. Numbers are for people:
    `observed` over `window_hours` (0: the period so far), `expected`, and their `ratio` where
    there is something to divide by.
    """

    key: FindingKey
    window_start: datetime
    window_hours: int
    observed: Decimal
    expected: Decimal
    unit: str
    complete_to: datetime

    @property
    def ratio(self) -> Decimal | None:
        """Observed by expected; None where nothing was expected."""
        return round(self.observed / self.expected, 4) if self.expected else None

    @property
    def finding_id(self) -> str:
        """Names the finding in every outlet: whoever finds it again gives it the same."""
        parts = (
            self.key.kind, self.key.customer_id, self.key.meter, self.key.group, self.key.threshold,
            self.window_start.isoformat(),
        )  # fmt: skip
        text = "".join(f"{len(part.encode())}:{part}" for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]

    @property
    def sentence(self) -> str:
        """What is to be said of it, with the numbers."""
        key = self.key
        where = f"{key.customer_id} {key.meter}".strip()
        numbers = f"{_told(self.observed)} {self.unit}, expected {_told(self.expected)}"
        if key.kind is FindingKind.DELTA:
            return f"{where}: this period so far {numbers} (the same stretch of the last one)"
        if key.kind.is_anomaly:
            verb = {"spike": "spikes", "drop": "drops", "silence": "is silent"}[key.kind]
            return f"{where} {verb}: {numbers} in {self.window_hours} h"
        limit = f"{_plain(self.expected)} {self.unit}"
        if key.threshold == PROJECTED:
            at_end = _told(self.observed)
            return f"{where} is projected to exceed its {key.kind} of {limit}: {at_end}"
        return f"{where} has reached {key.threshold} % of its {key.kind} of {limit}"


@dataclass(frozen=True, slots=True)
class Change:
    """A finding that was opened or resolved: what is written and told, under `change_id`."""

    finding: Finding
    state: FindingState
    recorded_at: datetime

    @property
    def change_id(self) -> str:
        """Names the message: a receiver drops what it has seen."""
        return f"{self.finding.finding_id}-{self.state}"

    def document(self) -> dict[str, str | int | None]:
        """The message, as docs/alerts.md describes it. Numbers are decimal text."""
        finding, key = self.finding, self.finding.key
        ratio = finding.ratio
        return {
            "schema_version": 1,
            "id": self.change_id,
            "finding_id": finding.finding_id,
            "state": self.state,
            "kind": key.kind,
            "customer_id": key.customer_id,
            "meter": key.meter,
            "group": key.group,
            "threshold": key.threshold,
            "window_start": finding.window_start.isoformat(),
            "window_hours": finding.window_hours,
            "observed": f"{finding.observed:f}",
            "expected": f"{finding.expected:f}",
            "ratio": None if ratio is None else f"{ratio:f}",
            "unit": finding.unit,
            "complete_to": finding.complete_to.isoformat(),
            "sentence": finding.sentence,
            "recorded_at": self.recorded_at.isoformat(),
        }


def _told(number: Decimal) -> str:
    """Rounded, for people, who read no exponents."""
    return _plain(_TOLD_DIGITS.plus(number))


def _plain(number: Decimal) -> str:
    """All digits but zeros behind the point that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
