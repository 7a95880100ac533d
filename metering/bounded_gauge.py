"""A gauge whose series are replaced as a whole, and never more than so many.

For what names customers: one appears only while something is wrong with it, and at most the first
few hundred do. What is left out is counted, so that a bound that is reached is seen.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

#: Number of a sample: exact amounts stay in ClickHouse, what is shown here is for eyes and alerts.
Value = int | float | Decimal


class BoundedGauge:
    """Set by one thread, collected by the HTTP thread, always as one whole."""

    def __init__(
        self, name: str, meaning: str, *, labels: Sequence[str], series_max: int,
        registry: CollectorRegistry,
    ) -> None:  # fmt: skip
        """No series yet."""
        self.name = name
        self.meaning = meaning
        self.labels = tuple(labels)
        self.series_max = series_max
        self._values: dict[tuple[str, ...], Value] = {}
        self._omitted = 0
        self._lock = threading.Lock()
        registry.register(self)

    @property
    def omitted(self) -> int:
        """How many of the last `replace` are not shown."""
        return self._omitted

    def replace(self, values: Mapping[tuple[str, ...], Value]) -> None:
        """Show these and nothing else: the first `series_max` of them, so put the worst first.

        Keys are label values in the order of `labels`. Raises `ValueError` for one of another
        length.
        """
        wrong = [key for key in values if len(key) != len(self.labels)]
        if wrong:
            msg = f"{self.name}: expected values for {self.labels}, got {wrong[0]}"
            raise ValueError(msg)
        kept = dict(list(values.items())[: self.series_max])
        with self._lock:
            self._values, self._omitted = kept, len(values) - len(kept)

    def describe(self) -> Iterable[Metric]:
        """The family, without samples."""
        return [GaugeMetricFamily(self.name, self.meaning, labels=self.labels)]

    def collect(self) -> Iterable[Metric]:
        """The family with its samples, and how many were left out."""
        with self._lock:
            values, omitted = dict(self._values), self._omitted
        family = GaugeMetricFamily(self.name, self.meaning, labels=self.labels)
        for key, value in values.items():
            family.add_metric(key, float(value))
        said = f"Series that {self.name} leaves out because there are more than {self.series_max}"
        return [family, GaugeMetricFamily(f"{self.name}_omitted", said, value=omitted)]
