"""Findings that are open, as gauges: customers only while they breach, and how many there are."""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from alerts.check import Checked
from metering.alert import FindingKind


class Shown(Protocol):
    """A gauge that is replaced as a whole; keys are (kind, customer, meter)."""

    def replace(self, values: Mapping[tuple[str, ...], int | float]) -> None:
        """Show these, the worst first."""
        ...


class Counted(Protocol):
    """A gauge by kind."""

    def labels(self, *values: str) -> "Settable":
        """That of one kind."""
        ...


class Settable(Protocol):
    """One series."""

    def set(self, value: float) -> None:
        """Show it."""
        ...


def show(checked: Checked, *, anomaly: Shown, threshold: Shown, is_open: Counted) -> None:
    """Set the gauges: a customer is there only while it breaches, by the greatest of its ratios.

    `is_open` counts all of them, also those that the bounded gauges leave out.
    """
    counts = Counter(each.key.kind for each in (*checked.anomalies, *checked.thresholds))
    for kind in FindingKind:
        is_open.labels(str(kind)).set(counts[kind])
    for gauge, findings in ((anomaly, checked.anomalies), (threshold, checked.thresholds)):
        values: dict[tuple[str, ...], float] = {}
        for each in findings:
            key = (str(each.key.kind), each.key.customer_id, each.key.meter)
            values[key] = max(values.get(key, 0.0), float(each.ratio or 0))
        gauge.replace(values)
