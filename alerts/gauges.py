"""Findings that are open, as gauges: customers only while they breach, and how many there are."""

import math
from collections import Counter
from collections.abc import Iterable

from alerts.check import Checked
from metering.alert import PROJECTED, Finding, FindingKind
from metering.metrics import StewardMetrics


def show(checked: Checked, metrics: StewardMetrics) -> None:
    """Set the gauges: a customer is there only while it breaches, by the greatest of its ratios.

    Findings are also counted, with those that the bounded gauges leave out; and so are messages
    that an outlet did not take.
    """
    counts = Counter(each.key.kind for each in (*checked.anomalies, *checked.thresholds))
    for kind in FindingKind:
        metrics.findings_open.labels(str(kind)).set(counts[kind])
    reached = [each for each in checked.thresholds if each.key.threshold != PROJECTED]
    projected = [each for each in checked.thresholds if each.key.threshold == PROJECTED]
    metrics.anomaly.replace(_ratios(checked.anomalies))
    metrics.threshold.replace(_ratios(reached))
    metrics.projected.replace(_ratios(projected))
    for outlet, count in checked.waiting.items():
        metrics.undelivered.labels(outlet).set(count)


def _ratios(findings: Iterable[Finding]) -> dict[tuple[str, ...], float]:
    """By (kind, customer, meter), in the order of findings; usage where none was is infinite."""
    values: dict[tuple[str, ...], float] = {}
    for each in findings:
        key = (str(each.key.kind), each.key.customer_id, each.key.meter)
        ratio = math.inf if each.ratio is None else float(each.ratio)
        values[key] = max(values.get(key, 0.0), ratio)
    return values
