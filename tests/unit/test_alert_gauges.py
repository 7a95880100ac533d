"""Gauges of findings: customers only while they breach, and a count that is of all of them."""

from datetime import UTC, datetime
from decimal import Decimal

from prometheus_client import generate_latest

from alerts.check import Checked
from alerts.gauges import show
from metering.alert import PROJECTED, Finding, FindingKey, FindingKind
from metering.metrics import BREACHES_MAX, StewardMetrics

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def finding(
    kind: FindingKind = FindingKind.SPIKE, customer: str = "c", *, threshold: str = "",
    observed: int = 30, expected: int = 10,
) -> Finding:  # fmt: skip
    return Finding(
        FindingKey(kind, customer, "m", threshold=threshold), NOW, 3, observed=Decimal(observed),
        expected=Decimal(expected), unit="request", complete_to=NOW,
    )  # fmt: skip


def spikes(count: int) -> tuple[Finding, ...]:
    return tuple(finding(customer=f"c{number}") for number in range(count))


def shown(
    metrics: StewardMetrics, anomalies: tuple[Finding, ...], thresholds: tuple[Finding, ...] = ()
) -> str:
    show(Checked(NOW, (), anomalies, thresholds, {"topic": 0, "webhook": 12}), metrics)
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
    found = tuple(
        finding(FindingKind.ALLOWANCE, threshold=str(percent), observed=percent, expected=100)
        for percent in (100, 50, 80)
    )
    text = shown(StewardMetrics(), (), found)
    assert 'customer="c",kind="allowance",meter="m"} 1.0' in text
    assert 'meterline_usage_findings_open{kind="allowance"} 3.0' in text


def test_what_is_projected_is_not_shown_as_used() -> None:
    half = finding(FindingKind.COMMIT, threshold="50", observed=51, expected=100)
    at_end = finding(FindingKind.COMMIT, threshold=PROJECTED, observed=130, expected=100)
    labels = '{customer="c",kind="commit",meter="m"}'
    text = shown(StewardMetrics(), (), (at_end, half))
    assert f"meterline_usage_threshold_ratio{labels} 0.51" in text
    assert f"meterline_usage_projected_ratio{labels} 1.3" in text


def test_case_18_usage_where_none_was_expected_is_no_ratio_of_nothing() -> None:
    text = shown(StewardMetrics(), (finding(expected=0),))
    assert 'meterline_usage_anomaly_ratio{customer="c",kind="spike",meter="m"} +Inf' in text


def test_messages_that_wait_are_shown_by_outlet() -> None:
    text = shown(StewardMetrics(), ())
    assert 'meterline_alerts_undelivered_messages{outlet="webhook"} 12.0' in text
    assert 'meterline_alerts_undelivered_messages{outlet="topic"} 0.0' in text
