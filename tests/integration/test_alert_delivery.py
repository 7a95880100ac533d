"""Who is told of what: an outlet that is new, and one that nothing can be sent to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from test_alerts import Memory, check

from metering.alert import Change, Finding, FindingKey, FindingKind, FindingState
from metering.errors import SettingsInvalid
from metering.settings import Settings
from sinks.alert_store import AlertStore
from sinks.clickhouse import connect_clickhouse

NOW = datetime.now(UTC).replace(microsecond=0)
WEEK = timedelta(days=7)
OPENED, RESOLVED = FindingState.OPENED, FindingState.RESOLVED


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def change(customer: str, state: FindingState, *, days_ago: int) -> Change:
    finding = Finding(
        FindingKey(FindingKind.SPIKE, customer, "m"), NOW - timedelta(days=60), 3,
        observed=Decimal(30), expected=Decimal(10), unit="request", complete_to=NOW,
    )  # fmt: skip
    return Change(finding, state, NOW - timedelta(days=days_ago))


def test_a_new_outlet_is_told_of_what_is_open_and_new_and_not_of_all_that_ever_was(
    client: Client,
) -> None:
    store = AlertStore(client)
    known = change("ended-after-it-was-told", OPENED, days_ago=12)
    store.record(
        [
            change("over-long-ago", OPENED, days_ago=12),
            change("over-long-ago", RESOLVED, days_ago=11),
            change("open", OPENED, days_ago=10),
            known,
            change("ended-after-it-was-told", RESOLVED, days_ago=9),
            change("ended-lately", OPENED, days_ago=8),
            change("ended-lately", RESOLVED, days_ago=1),
        ]
    )

    def waiting(outlet: str) -> list[tuple[str, str]]:
        found = store.undelivered(outlet, since=NOW - WEEK, limit=100)
        return [(each.finding.key.customer_id, str(each.state)) for each in found]

    assert waiting("new") == [("open", "opened"), ("ended-lately", "resolved")]
    store.mark_delivered("old", [known], now=NOW)
    assert waiting("old") == [
        ("open", "opened"), ("ended-after-it-was-told", "resolved"), ("ended-lately", "resolved"),
    ]  # fmt: skip


def test_an_outlet_that_a_person_has_to_mend_holds_up_no_other(client: Client) -> None:
    class Forbidden:
        name = "forbidden"

        def send(self, _changes: Sequence[Change]) -> list[Change]:
            raise SettingsInvalid(["expected a public address"])

    told = change("a", OPENED, days_ago=0)
    AlertStore(client).record([told])
    memory = Memory()
    found = check(client, Forbidden(), memory)
    assert memory.taken == [told.change_id]
    assert found.waiting == {"forbidden": 1, "memory": 0}
    assert found.undelivered == ("forbidden",)
