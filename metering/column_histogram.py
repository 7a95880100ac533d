"""A histogram that is given whole columns: nothing happens per event in Python."""

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric

_MS = 1000


class ColumnHistogram:
    """Durations in milliseconds, shown in seconds as a Prometheus histogram.

    Observed by the flush thread once a flush, collected by the HTTP thread.
    """

    def __init__(
        self, name: str, meaning: str, *, bounds_ms: Sequence[int], registry: CollectorRegistry
    ) -> None:
        """`bounds_ms` ascend and are inclusive; one without a bound follows the last."""
        self.name = name
        self.meaning = meaning
        self._bounds_ms = tuple(bounds_ms)
        self._within = [0] * (len(self._bounds_ms) + 1)
        self._sum_ms = 0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, column_ms: NDArray[np.int64]) -> None:
        """Add every duration of a column. A pass for each bound costs less than sorting."""
        if not len(column_ms):
            return
        within = [int(np.count_nonzero(column_ms <= bound)) for bound in self._bounds_ms]
        total = int(column_ms.sum())
        with self._lock:
            for at, count in enumerate([*within, len(column_ms)]):
                self._within[at] += count
            self._sum_ms += total

    def describe(self) -> Iterable[Metric]:
        """The family, without samples."""
        return [HistogramMetricFamily(self.name, self.meaning)]

    def collect(self) -> Iterable[Metric]:
        """The family with its samples, all of one moment."""
        with self._lock:
            within, total_ms = list(self._within), self._sum_ms
        names = [*(str(bound / _MS) for bound in self._bounds_ms), "+Inf"]
        return [
            HistogramMetricFamily(
                self.name,
                self.meaning,
                buckets=list(zip(names, within, strict=True)),
                sum_value=total_ms / _MS,
            )
        ]
