"""A silence goes on for as long as nothing comes, also through hours in which little ever came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from clickhouse_connect.driver.client import Client
from test_alerts import NOW, check, complete, use

from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse

#: Eight busy hours a day, the last of which end now; in between next to nothing comes.
_BY_DAY = "if(number % 24 < 8, 1, 0.006)"


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def heard(client: Client, hours_ago: int) -> set[tuple[str, str, str]]:
    """Changes of a check of what is complete to then: state, kind, customer."""
    complete(client, NOW - timedelta(hours=hours_ago))
    return {
        (str(each.state), str(each.finding.key.kind), each.finding.key.customer_id)
        for each in check(client).changes
    }


def test_case_18_a_silence_is_no_drop_at_night_and_is_told_once(client: Client) -> None:
    use(client, "silent", of=f"if(age < 30, 0, {_BY_DAY})")
    use(client, "trickles", of=f"if(age < 30, if(age = 12, 0.02, 0), {_BY_DAY})")
    use(client, "both", of=f"if(age < 30, 0, {_BY_DAY})")
    use(client, "both", of=f"if(age < 30, 0, {_BY_DAY})", meter="files")
    assert heard(client, 25) == {
        ("opened", "silence", name) for name in ("silent", "trickles", "both")
    }
    assert heard(client, 12) == {
        ("resolved", "silence", "trickles"), ("opened", "drop", "trickles"),
    }  # fmt: skip
    assert not {each for each in heard(client, 0) if each[2] != "trickles"}
