"""Gauges of findings: customers only while they breach, and a count that is of all of them."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from prometheus_client import generate_latest

from alerts.check import Checked
from alerts.gauges import show
from metering.alert import Finding, FindingKey, FindingKind
from metering.metrics import BREACHES_MAX, StewardMetrics

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def spikes(count: int) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            FindingKey(FindingKind.SPIKE, f"c{number}", "m"), NOW, 3, observed=Decimal(30),
            expected=Decimal(10), unit="request", complete_to=NOW,
        )
        for number in range(count)
    )  # fmt: skip


def shown(metrics: StewardMetrics, anomalies: tuple[Finding, ...]) -> str:
    checked = Checked(NOW, (), anomalies, (), ())
    show(
        checked, anomaly=metrics.anomaly, threshold=metrics.threshold,
        is_open=metrics.findings_open,
    )  # fmt: skip
    return generate_latest(metrics.registry).decode()


def test_a_flood_of_customers_leaves_the_number_of_series_flat_and_is_counted() -> None:
    text = shown(StewardMetrics(), spikes(100_000))
    assert text.count("meterline_usage_anomaly_ratio{") == BREACHES_MAX
    assert 'meterline_usage_findings_open{kind="spike"} 100000.0' in text
    assert 'meterline_usage_findings_open{kind="silence"} 0.0' in text


def test_a_customer_that_is_as_usual_again_is_gone() -> None:
    metrics = StewardMetrics()
    assert 'customer="c0"' in shown(metrics, spikes(1))
    text = shown(metrics, ())
    assert 'customer="c0"' not in text
    assert 'meterline_usage_findings_open{kind="spike"} 0.0' in text


def test_of_several_findings_about_one_meter_the_greatest_ratio_is_shown() -> None:
    key = FindingKey(FindingKind.ALLOWANCE, "c", "m")
    found = tuple(
        Finding(
            replace(key, threshold=str(percent)), NOW, 0, observed=Decimal(percent),
            expected=Decimal(100), unit="request", complete_to=NOW,
        )
        for percent in (100, 50, 80)
    )  # fmt: skip
    metrics = StewardMetrics()
    show(
        Checked(NOW, (), (), found, ()), anomaly=metrics.anomaly, threshold=metrics.threshold,
        is_open=metrics.findings_open,
    )  # fmt: skip
    text = generate_latest(metrics.registry).decode()
    assert 'customer="c",kind="allowance",meter="m"} 1.0' in text
    assert 'meterline_usage_findings_open{kind="allowance"} 3.0' in text
