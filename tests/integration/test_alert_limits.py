"""Limits on the real engine: commits, levels, the first days of a period, and the next period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from test_alert_thresholds import complete
from test_rating_views import HALF_CENTS, JULY, JUNE, LABEL, Books, C, Q

from alerts.check import AlertCheck
from alerts.check import _severity as severity
from alerts.spend import spend_so_far
from alerts.thresholds import crossed, positions
from metering.alert import Change, Finding, FindingKey, FindingKind, FindingState
from metering.catalog import Aggregation, Catalog, Meter
from metering.catalog_alerts import Budgets
from metering.metrics import SPEND_MAX, StewardMetrics
from metering.settings import Settings
from rating_engine.models.table import price_of
from rating_engine.rate_card import rate_card
from rating_engine.terms import ChargeTerms
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

CATALOG = Catalog({"api_requests": Meter("api_requests", "request", Aggregation.SUM)})
NO_BUDGETS = Budgets({}, {})
#: A thousand are included.
CENT = rate_card(
    ChargeTerms(price_of({"model": "per_unit", "unit_price": "0.01"}), allowance=1000 * Q)
)
AUGUST = datetime(2026, 8, 1, tzinfo=UTC)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def told(client: Client, now: datetime) -> dict[tuple[str, str, str], Finding]:
    return {
        (each.key.kind, each.key.customer_id, each.key.threshold): each
        for position in positions(client, NO_BUDGETS, now=now)
        for each in crossed(position, complete_to=now)
    }


def test_a_commit_is_told_of_at_each_threshold_in_the_plans_currency(client: Client) -> None:
    books = Books()
    card = books.card(HALF_CENTS, LABEL)
    for customer, used in (("most", 1700), ("all", 2000), ("little", 900)):
        books.usage(customer, [used * Q], card=card)
        books.period(customer, commit=10 * C)
    books.insert(client)
    found = told(client, JULY - timedelta(hours=1))
    assert set(found) == {
        *(("commit", "most", at) for at in ("50", "80")),
        *(("commit", "all", at) for at in ("50", "80", "100")),
    }
    most = found["commit", "most", "80"]
    assert (most.observed, most.expected, most.unit) == (Decimal("8.5"), Decimal(10), "USD")


def test_a_level_is_not_projected_and_nothing_is_in_the_first_days(client: Client) -> None:
    books = Books()
    card = books.card(CENT, LABEL)
    books.usage("used", [520 * Q], card=card)
    books.usage("peak", [520 * Q, 100 * Q], card=card, how="max")
    for customer in ("used", "peak"):
        books.period(customer)
    books.insert(client)
    tenth_day = told(client, JUNE + timedelta(days=10))
    assert ("allowance", "used", "projected") in tenth_day
    assert {at for _, name, at in tenth_day if name == "peak"} == {"50"}
    second_day = told(client, JUNE + timedelta(days=2))
    assert {at for _, _, at in second_day} == {"50"}


def test_a_threshold_is_armed_again_in_the_next_period(client: Client) -> None:
    books = Books()
    card = books.card(CENT, LABEL)
    for part in (JUNE, JULY):
        books.usage("half", [520 * Q], card=card, part=part)
    for row in books.totals:
        row[9] = row[10]  # the period is that of the part
    books.period("half")
    books.periods += [["half", JULY, AUGUST, *each[3:]] for each in books.periods]
    books.insert(client)
    client.insert(
        "streams", [["usage.events:1", "live", "usage.events", "1", JUNE]], column_names="*",
        settings=INSERT_SETTINGS,
    )  # fmt: skip

    def check(complete_to: datetime) -> list[Change]:
        complete(client, complete_to)
        run = AlertCheck(client, CATALOG, budgets=NO_BUDGETS, outlets=[])
        return list(run.run(datetime.now(UTC)).changes)

    (june,) = check(JULY - timedelta(hours=2))
    (july,) = check(AUGUST - timedelta(hours=2))
    (ended,) = check(AUGUST - timedelta(hours=1))
    assert (june.state, july.state, ended.state) == (
        FindingState.OPENED, FindingState.OPENED, FindingState.RESOLVED,
    )  # fmt: skip
    assert ended.finding.finding_id == june.finding.finding_id != july.finding.finding_id
    assert july.finding.window_start == JULY


def test_what_is_reached_right_before_a_period_ends_is_told_after_it(client: Client) -> None:
    """Completeness may jump over the end: after an outage, and by every check a little."""
    books = Books()
    card = books.card(CENT, LABEL)
    books.usage("last-minute", [520 * Q], card=card)
    books.period("last-minute")
    client.insert(
        "streams", [["usage.events:1", "live", "usage.events", "1", JUNE]], column_names="*",
        settings=INSERT_SETTINGS,
    )  # fmt: skip

    def check(complete_to: datetime) -> list[FindingState]:
        complete(client, complete_to)
        run = AlertCheck(client, CATALOG, budgets=NO_BUDGETS, outlets=[])
        return [each.state for each in run.run(datetime.now(UTC)).changes]

    assert check(JULY - timedelta(minutes=10)) == []
    books.insert(client)
    assert check(JULY + timedelta(minutes=50)) == [FindingState.OPENED]
    assert check(JULY + timedelta(minutes=55)) == [FindingState.RESOLVED]
    assert check(JULY + timedelta(minutes=59)) == []


def test_what_is_projected_is_told_before_half_is_used(client: Client) -> None:
    books = Books()
    card = books.card(CENT, LABEL)
    for customer, used in (("fast", 400), ("slow", 300)):
        books.usage(customer, [used * Q], card=card)
        books.period(customer)
    books.insert(client)
    found = told(client, JUNE + timedelta(days=10))
    assert set(found) == {("allowance", "fast", "projected")}
    assert found["allowance", "fast", "projected"].observed == 1200


def test_a_limit_is_reached_at_the_very_cent(client: Client) -> None:
    """7.24 of 9.05 are 80 %; as binary fractions they are a little less."""
    books = Books()
    free = rate_card(ChargeTerms(price_of({"model": "per_unit", "unit_price": "0.01"})))
    books.usage("exact", [724 * Q], card=books.card(free, LABEL))
    books.period("exact")
    for row in books.periods:
        row[9] = Decimal(0)
    books.insert(client)
    budgets = Budgets({"exact": Decimal("9.05")}, {})
    (found,) = positions(client, budgets, now=JULY - timedelta(hours=1))
    assert (found.kind, found.percent) == ("budget", 80)


def test_the_worst_are_first_of_limits_and_of_anomalies() -> None:
    def finding(kind: FindingKind, observed: int, expected: int = 100) -> Finding:
        return Finding(
            FindingKey(kind, "c", f"{observed}"), JUNE, 1, observed=Decimal(observed),
            expected=Decimal(expected), unit="u", complete_to=JULY,
        )  # fmt: skip

    limits = [finding(FindingKind.COMMIT, percent) for percent in (120, 99, 80, 51)]
    anomalies = [
        finding(FindingKind.SPIKE, 7, expected=0), finding(FindingKind.SILENCE, 0),
        finding(FindingKind.DROP, 10), finding(FindingKind.SPIKE, 500),
        finding(FindingKind.DROP, 30), finding(FindingKind.SPIKE, 200),
    ]  # fmt: skip
    shuffled = [limits[at] for at in (2, 0, 3, 1)]
    assert sorted(shuffled, key=severity) == limits
    mixed = [anomalies[at] for at in (5, 2, 0, 4, 1, 3)]
    assert [each.observed for each in sorted(mixed, key=severity)] == [
        0, 7, 10, 500, 30, 200,
    ]  # fmt: skip


def test_plans_that_gauges_leave_out_are_counted(client: Client) -> None:
    books = Books()
    for number in range(60):
        books.period(f"c{number}")
        for row in books.periods[-2:]:
            row[4] = f"plan-{number}"
    client.insert("billing_periods", books.periods, column_names="*", settings=INSERT_SETTINGS)
    metrics = StewardMetrics()
    metrics.spend.replace(spend_so_far(client, now=JULY - timedelta(hours=1)).amounts)
    assert metrics.spend.omitted == 60 - SPEND_MAX
