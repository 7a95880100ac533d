"""Thresholds from the views that finance reads: each once per crossing, armed again each period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from test_rating_views import JULY, JUNE, LABEL, Books, Q

from alerts.check import AlertCheck
from alerts.spend import spend_so_far
from alerts.thresholds import crossed, positions
from metering.alert import FindingState
from metering.catalog import Aggregation, Catalog, Meter
from metering.catalog_alerts import Budgets
from metering.settings import Settings
from rating_engine.models.table import price_of
from rating_engine.rate_card import rate_card
from rating_engine.terms import ChargeTerms
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

CENT = rate_card(
    ChargeTerms(price_of({"model": "per_unit", "unit_price": "0.01"}), allowance=1000 * Q)
)
CATALOG = Catalog({"api_requests": Meter("api_requests", "request", Aggregation.SUM)})
BUDGETS = Budgets({"big": Decimal(40)}, {"growth": Decimal(10)})


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    books = Books()
    card = books.card(CENT, LABEL)
    for customer, used in (("half", 520), ("over", 1900), ("big", 3900), ("little", 10)):
        books.usage(customer, [used * Q], card=card)
        books.period(customer)
    books.insert(found)
    yield found
    found.close()


def told(client: Client, now: datetime) -> set[tuple[str, str, str]]:
    return {
        (each.key.kind, each.key.customer_id, each.key.threshold)
        for position in positions(client, BUDGETS, now=now)
        for each in crossed(position, complete_to=now)
    }


def test_allowance_and_budget_are_told_of_at_each_threshold(client: Client) -> None:
    # base fee 7; over: 7 + 900 cents of a budget of 10; big: 7 + 2900 cents of its own 40
    found = told(client, JULY - timedelta(hours=1))
    assert {each for each in found if each[0] == "allowance"} == {
        ("allowance", "half", "50"),
        *(("allowance", name, at) for name in ("over", "big") for at in ("50", "80", "100")),
    }
    assert {each for each in found if each[0] == "budget" and each[1] in ("over", "big")} == {
        *(("budget", "over", at) for at in ("50", "80", "100")),
        *(("budget", "big", at) for at in ("50", "80")),
    }


def test_half_used_in_a_third_of_the_period_is_projected_to_exceed(client: Client) -> None:
    found = told(client, JUNE + timedelta(days=10))
    assert ("allowance", "half", "projected") in found
    assert ("allowance", "little", "projected") not in found
    assert told(client, JULY + timedelta(hours=1)) == set()


def complete(client: Client, complete_to: datetime) -> None:
    """Say that all usage up to a moment is there."""
    client.insert(
        "watermarks", [["usage.events:1", 0, 0, 1, complete_to]],
        column_names=["stream", "partition", "first_offset", "next_offset", "watermark"],
        settings=INSERT_SETTINGS,
    )  # fmt: skip


def test_a_threshold_is_told_once_and_ends_with_its_period(client: Client) -> None:
    def check(complete_to: datetime) -> list[FindingState]:
        complete(client, complete_to)
        run = AlertCheck(client, CATALOG, budgets=BUDGETS, outlets=[])
        return [each.state for each in run.run(datetime.now(UTC)).changes]

    client.insert(
        "streams", [["usage.events:1", "live", "usage.events", "1", JUNE]], column_names="*",
        settings=INSERT_SETTINGS,
    )  # fmt: skip
    first = check(JULY - timedelta(hours=2))
    assert first
    assert set(first) == {FindingState.OPENED}
    assert check(JULY - timedelta(hours=1)) == []
    assert check(JULY + timedelta(hours=1)) == []  # looked at once more, up to its end
    ended = check(JULY + timedelta(hours=2))
    assert len(ended) == len(first)
    assert set(ended) == {FindingState.RESOLVED}
    assert check(JULY + timedelta(hours=3)) == []


def test_spend_is_what_periods_under_way_come_to_by_plan(client: Client) -> None:
    # four base fees of 7; over: 900 cents, big: 2900
    found = spend_so_far(client, now=JULY - timedelta(hours=1))
    assert list(found.amounts.values()) == [Decimal(66)]
    assert list(found.customers.values()) == [4]
    assert spend_so_far(client, now=JULY + timedelta(hours=1)).amounts == {}
