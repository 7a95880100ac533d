"""Declares metrics: each once, with its name, unit, labels and meaning.

The page `docs/metrics.md` is written from the declarations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from metering.bounded_gauge import BoundedGauge
from metering.column_histogram import ColumnHistogram


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a metric says of itself; `unit` is empty for what is only counted as true or false."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    meaning: str


class MetricRegistry:
    """The metrics of one process, in a registry of their own; names get the prefix `meterline_`."""

    def __init__(self) -> None:
        """Empty."""
        self.registry = CollectorRegistry()
        self.declared: list[Declaration] = []

    def counter(self, name: str, meaning: str, *, unit: str, labels: Sequence[str] = ()) -> Counter:
        """A number that only grows while the process lives; its name ends in `_total`."""
        return Counter(
            self._declare(name, meaning, kind="counter", unit=unit, labels=labels),
            meaning, labels, registry=self.registry,
        )  # fmt: skip

    def gauge(self, name: str, meaning: str, *, unit: str, labels: Sequence[str] = ()) -> Gauge:
        """A number as it is now."""
        return Gauge(
            self._declare(name, meaning, kind="gauge", unit=unit, labels=labels),
            meaning, labels, registry=self.registry,
        )  # fmt: skip

    def bounded_gauge(
        self, name: str, meaning: str, *, unit: str, labels: Sequence[str], series_max: int
    ) -> BoundedGauge:
        """A gauge with at most `series_max` series, replaced as a whole."""
        meaning = f"{meaning}. At most {series_max} series; `_omitted` counts what is left out"
        return BoundedGauge(
            self._declare(name, meaning, kind="gauge", unit=unit, labels=labels),
            meaning, labels=labels, series_max=series_max, registry=self.registry,
        )  # fmt: skip

    def histogram(
        self, name: str, meaning: str, *, unit: str, buckets: Sequence[float],
        labels: Sequence[str] = (),
    ) -> Histogram:  # fmt: skip
        """How often which size came, one observation at a time."""
        return Histogram(
            self._declare(name, meaning, kind="histogram", unit=unit, labels=labels),
            meaning, labels, buckets=buckets, registry=self.registry,
        )  # fmt: skip

    def delays(self, name: str, meaning: str, *, bounds_ms: Sequence[int]) -> ColumnHistogram:
        """How often which delay came, in seconds, a column of milliseconds at a time."""
        return ColumnHistogram(
            self._declare(name, meaning, kind="histogram", unit="seconds", labels=()),
            meaning, bounds_ms=bounds_ms, registry=self.registry,
        )  # fmt: skip

    def _declare(
        self, name: str, meaning: str, *, kind: str, unit: str, labels: Sequence[str]
    ) -> str:
        full = f"meterline_{name}"
        assert full not in {each.name for each in self.declared}, f"{full} is declared twice"
        self.declared.append(Declaration(full, kind, unit, tuple(labels), meaning))
        return full
