"""Metrics stay few however many customers there are; delays are added a column at a time."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from decoding import CATALOG, RECORD_MS, SETTINGS, batch, event
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from dataflows.health import Health
from dataflows.measures import Measures
from dataflows.outcome import Outcome
from metering.batch import EventBatch, Source
from metering.bounded_gauge import BoundedGauge
from metering.column_histogram import ColumnHistogram
from metering.decode import Decoder
from metering.flush import Flush, PartitionFlush
from metering.metric_registry import MetricRegistry
from metering.metrics import BREACHES_MAX, StewardMetrics, WorkerMetrics

LATENESS = timedelta(minutes=5)
CUSTOMERS = 100_000


def test_a_flood_of_100_000_customers_adds_no_series() -> None:
    metrics = WorkerMetrics()
    Health(metrics)
    measures = Measures(metrics, LATENESS)
    decoder = Decoder(CATALOG, SETTINGS)
    series = []
    for first in range(0, CUSTOMERS, 10_000):
        names = [f"org_{number}" for number in range(first, first + 10_000)]
        decoded = decoder.decode(batch(*(_usage(name) for name in names)))
        assert len(decoded) > 9_000
        assert decoded.rejections
        _measure(measures, decoded)
        series.append(_series(metrics))
    assert metrics.events.labels("accepted")._value.get() > 0.9 * CUSTOMERS
    assert len(set(series)) == 1
    assert series[0] < 300


def test_a_flood_of_customers_that_breach_shows_the_worst_and_counts_the_others() -> None:
    metrics = StewardMetrics()
    breaches: dict[tuple[str, ...], int | float] = {
        ("spike", f"org_{n}", "api_requests"): CUSTOMERS - n for n in range(CUSTOMERS)
    }
    metrics.anomaly.replace(breaches)
    text = generate_latest(metrics.registry).decode()
    shown = [
        line for line in text.splitlines() if line.startswith("meterline_usage_anomaly_ratio{")
    ]
    assert len(shown) == BREACHES_MAX
    assert f"meterline_usage_anomaly_ratio_omitted {CUSTOMERS - BREACHES_MAX}.0" in text
    assert '{customer="org_0",kind="spike",meter="api_requests"} 100000.0' in shown[0]
    metrics.anomaly.replace({})
    assert "org_" not in generate_latest(metrics.registry).decode()


def test_a_bounded_gauge_refuses_what_its_labels_do_not_name() -> None:
    gauge = BoundedGauge("g", "m", labels=["kind"], series_max=1, registry=CollectorRegistry())
    with pytest.raises(ValueError, match="expected values for"):
        gauge.replace({("spike", "org_1"): 1})


def test_a_column_adds_what_its_events_would_one_by_one() -> None:
    bounds_ms = (100, 1000, 60_000)
    column = np.array([0, 100, 101, 999, 1000, 59_000, 60_001, 10**9], np.int64)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    by_column = ColumnHistogram("d", "m", bounds_ms=bounds_ms, registry=ours)
    one_by_one = Histogram("d", "m", buckets=[each / 1000 for each in bounds_ms], registry=theirs)
    for part in (column[:5], column[5:], column[:0]):
        by_column.observe(part)
    for value in column.tolist():
        one_by_one.observe(value / 1000)
    assert _samples(ours) == _samples(theirs)


def test_a_flush_says_how_late_events_were_and_up_to_when_everything_is_queryable() -> None:
    metrics = WorkerMetrics()
    measures = Measures(metrics, LATENESS)
    decoded = Decoder(CATALOG, SETTINGS).decode(
        batch(_usage("org_1", minute="07:59"), _usage("org_2", minute="07:18"))
    )
    _measure(measures, decoded, now_ms=RECORD_MS + 1500)
    found = _samples(metrics.registry)
    assert found["meterline_record_delay_seconds_sum"] == 3
    assert found['meterline_record_delay_seconds_bucket{le="2.0"}'] == 2
    assert found['meterline_record_delay_seconds_bucket{le="1.0"}'] == 0
    assert found["meterline_late_by_seconds_count"] == 1
    assert found["meterline_late_by_seconds_sum"] == (42 - 5) * 60
    assert found['meterline_queryable_timestamp_seconds{partition="3"}'] == RECORD_MS / 1000


def test_a_partition_that_is_idle_is_queryable_up_to_when_its_flush_was_cut() -> None:
    metrics = WorkerMetrics()
    idle = PartitionFlush(_SOURCE, 7, 7, watermark_ms=RECORD_MS)
    absorbed = PartitionFlush(_source(4), 7, 9, watermark_ms=RECORD_MS)
    Measures(metrics, LATENESS).flushed(
        Flush(1, [idle, absorbed]), seconds=2.0, now_ms=RECORD_MS + 10_000
    )
    found = _samples(metrics.registry)
    assert found['meterline_queryable_timestamp_seconds{partition="3"}'] == RECORD_MS / 1000 + 8
    assert 'meterline_queryable_timestamp_seconds{partition="4"}' not in found


def test_a_metric_is_declared_once() -> None:
    declared = MetricRegistry()
    declared.gauge("depth", "How deep", unit="metres")
    with pytest.raises(AssertionError, match="declared twice"):
        declared.gauge("depth", "How deep", unit="feet")


def test_metrics_of_worker_and_steward_share_no_name() -> None:
    names = [each.name for kind in (WorkerMetrics, StewardMetrics) for each in kind().declared]
    assert len(names) == len(set(names))


def _usage(customer: str, minute: str = "07:59") -> dict[str, object]:
    number = int(customer.removeprefix("org_"))
    meter = f"unheard_{number}" if number % 50 == 7 else "api_requests"
    return event(id=customer, customer_id=customer, meter=meter,
                 occurred_at=f"2026-06-12T{minute}:00Z")  # fmt: skip


def _source(partition: int) -> Source:
    return Source("usage.events", partition, 1)


_SOURCE = _source(3)


def _measure(measures: Measures, decoded: EventBatch, now_ms: int = RECORD_MS) -> None:
    """As the worker does it, with every event accepted."""
    late = decoded.record_ms * 1000 - decoded.occurred_us > LATENESS // timedelta(microseconds=1)
    rows = decoded.columns.append_column("late", pa.array(late))
    outcome = Outcome(
        _SOURCE, decoded.first_offset, decoded.next_offset, watermark_ms=RECORD_MS, events=rows,
        duplicates=None, rejections=decoded.rejections, suppressions=(), gaps=(),
        late=int(late.sum()), conflicts=0,
    )  # fmt: skip
    part = PartitionFlush(_SOURCE, decoded.first_offset, decoded.next_offset, events=[rows],
                          rejections=decoded.rejections)  # fmt: skip
    measures.count(decoded, outcome)
    measures.flushed(Flush(1, [part]), seconds=0.5, now_ms=now_ms)


def _series(metrics: MetricRegistry) -> int:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return sum(not line.startswith("#") for line in lines)


def _samples(registry: CollectorRegistry) -> dict[str, float]:
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs if "_created" not in name}
