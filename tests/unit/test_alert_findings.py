"""Identities of findings, where a webhook may point, and what the catalog says of alerts."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from metering.alert import (
    PROJECTED,
    Change,
    Finding,
    FindingKey,
    FindingKind,
    FindingState,
)
from metering.catalog import MeterAlerts, Sensitivity
from metering.catalog_alerts import load_budgets
from metering.catalog_load import load_catalog
from metering.errors import SettingsInvalid
from sinks.alert_webhook import AlertWebhook

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def finding(customer: str = "a", meter: str = "m", *, expected: str = "10") -> Finding:
    return Finding(
        FindingKey(FindingKind.SPIKE, customer, meter), NOW, 3, observed=Decimal(30),
        expected=Decimal(expected), unit="request", complete_to=NOW,
    )  # fmt: skip


def test_case_10_names_that_join_to_the_same_text_are_two_findings() -> None:
    assert finding("a-b", "c").finding_id != finding("a", "b-c").finding_id
    assert finding("ab", "c").finding_id != finding("a", "bc").finding_id
    assert finding().finding_id == finding(expected="11").finding_id


def test_case_18_what_was_expected_to_be_nothing_has_no_ratio() -> None:
    change = Change(finding(expected="0"), FindingState.OPENED, NOW)
    assert change.document()["ratio"] is None
    assert Change(finding(), FindingState.OPENED, NOW).document()["ratio"] == "3.0000"


def test_a_sentence_has_no_exponents_and_a_limit_all_its_digits() -> None:
    spike = replace(finding(), observed=Decimal("12345678.9"), expected=Decimal(1_000_000))
    assert spike.sentence == "a m spikes: 12345700 request, expected 1000000 in 3 h"
    key = FindingKey(FindingKind.COMMIT, "a", "m", threshold="80")
    limit = replace(finding(), key=key, expected=Decimal("1234567.890"), unit="USD")
    assert limit.sentence == "a m has reached 80 % of its commit of 1234567.89 USD"
    projected = replace(limit, key=replace(key, threshold=PROJECTED), observed=Decimal(2_000_000))
    assert projected.sentence == (
        "a m is projected to exceed its commit of 1234567.89 USD: 2000000"
    )


@pytest.mark.parametrize(
    ("url", "secret", "told"),
    [
        ("ftp://example.org/", "s", "expected an http"),
        ("https://example.org/", "", "expected a secret"),
        ("http://example.org/", "s", "expected https"),
    ],
)
def test_a_webhook_that_alerts_may_not_go_to_is_refused(url: str, secret: str, told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told):
        AlertWebhook(url, secret)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]"])
def test_a_webhook_inside_the_own_network_is_refused(host: str) -> None:
    webhook = AlertWebhook(f"https://{host}/", "s")
    with pytest.raises(SettingsInvalid, match="expected a public address"):
        webhook.send([Change(finding(), FindingState.OPENED, NOW)])


def _catalog(folder: Path, alerts: str, budgets: str = "") -> Path:
    (folder / "meters.yaml").write_text(
        f"meters:\n  - {{key: a, unit: u, aggregation: sum{alerts}}}\n", encoding="utf-8"
    )
    if budgets:
        (folder / "budgets.yaml").write_text(f"budgets:\n{budgets}", encoding="utf-8")
    return folder


def test_alerts_of_a_meter_change_no_hash(tmp_path: Path) -> None:
    plain = load_catalog(_catalog(tmp_path, ""))
    said = load_catalog(_catalog(tmp_path, ', alerts: {sensitivity: low, minimum: "2.5"}'))
    assert plain.meters["a"].alerts == MeterAlerts()
    assert said.meters["a"].alerts == MeterAlerts(Sensitivity.LOW, Decimal("2.5"))
    assert plain.content_hash == said.content_hash


@pytest.mark.parametrize("word", ["off", '"off"', "'off'"])
def test_sensitivity_is_off_with_or_without_quotes(tmp_path: Path, word: str) -> None:
    found = load_catalog(_catalog(tmp_path, f", alerts: {{sensitivity: {word}}}"))
    assert found.meters["a"].alerts.sensitivity is Sensitivity.OFF


@pytest.mark.parametrize("word", ["on", "false", "no", "OFF"])
def test_other_truth_values_are_no_sensitivity_and_the_fault_says_what_is(
    tmp_path: Path, word: str
) -> None:
    with pytest.raises(SettingsInvalid) as faults:
        load_catalog(_catalog(tmp_path, f", alerts: {{sensitivity: {word}}}"))
    (fault,) = faults.value.faults
    assert f"expected one of off, low, normal, high, got {word} (bool)" in fault


def test_faults_of_alerts_and_budgets_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as faults:
        load_catalog(_catalog(tmp_path, ', alerts: {sensitivity: loud, minimum: "-1"}'))
    assert len(faults.value.faults) == 2
    rows = '  - {plan: p, amount: "1"}\n  - {plan: p, amount: "0"}\n  - {amount: "1"}\n'
    with pytest.raises(SettingsInvalid) as faults:
        load_budgets(_catalog(tmp_path, "", rows))
    assert len(faults.value.faults) == 3
    found = load_budgets(_catalog(tmp_path, "", '  - {customer_id: c, amount: "1.5"}\n'))
    assert found.of_customers == {"c": Decimal("1.5")}
