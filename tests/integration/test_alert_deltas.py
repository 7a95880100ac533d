"""Periods beside the last one, on the real engine: from when on, from how much on, in any zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from test_alerts import CATALOG, NOW, check, complete, use

import alerts.check
from alerts.check import Checked
from metering.alert import Finding, FindingKind
from metering.catalog import Aggregation, Meter, MeterAlerts
from metering.settings import Settings
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

#: Of about 260 an hour, five days come to 31 000, and to 78 000 at two and a half times as much.
_MORE = "if(age < {}, 2.5, 1)"


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def period(client: Client, customer: str, *, hours: int, minutes: int = 0, days: int = 30) -> None:
    """The period under way began so long ago, after one that was as long."""
    began = NOW - timedelta(hours=hours, minutes=minutes)
    length = timedelta(days=days)
    client.insert(
        "billing_periods",
        [[customer, begins, begins + length, NOW] for begins in (began - length, began)],
        column_names=["customer_id", "period_start", "period_end", "updated_at"],
        settings=INSERT_SETTINGS,
    )


def told(checked: Checked) -> dict[str, Finding]:
    return {
        each.finding.key.customer_id: each.finding
        for each in checked.changes
        if each.finding.key.kind is FindingKind.DELTA
    }


def test_when_a_delta_is_told_and_from_how_much_on(client: Client) -> None:
    def meter(name: str, minimum: int) -> Meter:
        alerts = MeterAlerts(minimum=Decimal(minimum))
        return Meter(name, "request", Aggregation.SUM, alerts=alerts)

    meters = {name: meter(name, minimum) for name, minimum in (("much", 60_000), ("some", 30_000))}
    catalog = replace(CATALOG, meters={**CATALOG.meters, **meters})
    five_days = 5 * 24 + 3
    # From the third day on, and from the tenth part on.
    for customer, hours, days in (
        ("two-days", 2 * 24 + 3, 28), ("three-days", 3 * 24 + 3, 28),
        ("less-than-a-tenth", five_days, 60), ("a-tenth", five_days, 50),
    ):  # fmt: skip
        use(client, customer, of=_MORE.format(hours))
        period(client, customer, hours=hours, days=days)
    # From the meter's minimum on.
    for customer, name in (("below-minimum", "much"), ("above-minimum", "some")):
        use(client, customer, of=_MORE.format(five_days), meter=name)
        period(client, customer, hours=five_days)
    # Where it is half past when a day begins.
    use(client, "half-past", of=_MORE.format(five_days))
    period(client, "half-past", hours=five_days, minutes=30)
    # Of nothing there is no multiple: only where the meter says how much matters.
    for customer, name in (("first-use", "requests"), ("first-use-that-matters", "some")):
        use(client, customer, of=f"if(age < {five_days}, 2.5, 0)", meter=name)
        period(client, customer, hours=five_days)
    complete(client)
    found = told(check(client, catalog=catalog))
    assert set(found) == {
        "three-days", "a-tenth", "above-minimum", "half-past", "first-use-that-matters",
    }  # fmt: skip
    assert found["half-past"].window_hours == 5 * 24
    assert found["half-past"].window_start == NOW - timedelta(hours=five_days, minutes=30)
    assert round(found["half-past"].ratio or 0, 1) == Decimal("2.5")
    assert found["first-use-that-matters"].ratio is None


def test_deltas_that_are_too_many_to_tell_are_not_said_to_be_over(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = 5 * 24 + 3
    for customer in ("a", "b"):
        use(client, customer, of=_MORE.format(hours))
        period(client, customer, hours=hours)
    complete(client)
    assert set(told(check(client))) == {"a", "b"}
    client.command(
        "ALTER TABLE alert_progress DELETE WHERE step = 'deltas'", settings={"mutations_sync": 1}
    )
    monkeypatch.setattr(alerts.check, "BREACHES_MAX", 1)
    assert told(check(client)) == {}
