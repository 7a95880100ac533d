"""What is no news on the real engine: growth, noise, levels, small changes; and how much is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client
from test_alerts import CATALOG, NOW, check, complete, opened, use

from alerts.spend import spend_so_far
from metering.catalog import Aggregation, Meter, MeterAlerts, Sensitivity
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def _meter(name: str, alerts: MeterAlerts) -> Meter:
    return Meter(name, "request", Aggregation.SUM, alerts=alerts)


def test_what_is_news_and_what_is_not(client: Client) -> None:
    alerts = {name: MeterAlerts(Sensitivity(name)) for name in ("low", "normal", "high")}
    alerts["small"] = MeterAlerts(minimum=Decimal(10_000))
    alerts["precious"] = MeterAlerts(minimum=Decimal(100))
    meters = {name: _meter(name, each) for name, each in alerts.items()}
    catalog = replace(CATALOG, meters={**CATALOG.meters, **meters})
    # Meters are as easily alerted on as their sensitivity says.
    for meter in ("normal", "high"):
        use(client, f"{meter}-up-a-little", of="if(age < 30, 1.85, 1)", meter=meter)
        use(client, f"{meter}-down-a-little", of="if(age < 30, 0.42, 1)", meter=meter)
    for meter in ("low", "normal", "small"):
        use(client, f"{meter}-up-much", of="if(age < 6, 2.7, 1)", meter=meter)
        use(client, f"{meter}-down-to-a-quarter", of="if(age < 6, 0.25, 1)", meter=meter)
    # What grew for two weeks is usual, and so is a jump of who always jumps.
    use(client, "grown", of="if(age < 14 * 24, 3, 1)")
    use(client, "jumpy", of="if(age < 3 OR cityHash64(intDiv(age, 3)) % 12 = 0, 4, 1)")
    use(client, "calm", of="if(age < 3, 4, 1)")
    # An incident a week ago leaves what is usual.
    use(client, "twice", of="if(age < 6 OR age BETWEEN 168 AND 173, 5, 1)")
    # Usage comes an hour early, or in hours that are usually empty.
    nightly = "number % 24 BETWEEN {} AND {}"
    use(client, "early", of=f"if(age < 24, {nightly.format(2, 5)}, {nightly.format(1, 4)})")
    use(client, "moved", of=f"if(age < 24, {nightly.format(0, 3)}, {nightly.format(10, 13)})")
    # After eight weeks of nothing only what the meter says matters is news. (Nothing came in the
    # first hours that are looked at either: else the second week counts as much as the first.)
    for meter in ("requests", "precious"):
        woken = "age BETWEEN 8 * 168 + 1 AND 8 * 168 + 96 OR age < 3"
        use(client, f"{meter}-woken", of=woken, meter=meter)
    # A few events more are chance.
    use(client, "tiny", of="if(age < 4, 4.4, 1) / 60")
    complete(client)
    assert opened(check(client, catalog=catalog)) == {
        ("spike", "high-up-a-little"), ("drop", "high-down-a-little"),
        ("spike", "normal-up-much"), ("drop", "normal-down-to-a-quarter"),
        ("spike", "calm"), ("spike", "twice"), ("spike", "precious-woken"),
    }  # fmt: skip


def test_a_level_that_is_said_more_often_is_no_spike_and_a_higher_one_is(client: Client) -> None:
    seats = Meter("requests", "seat", Aggregation.MAX)
    catalog = replace(CATALOG, meters={"requests": seats})
    use(client, "often", of="age < 30 OR number % 3 = 0", aggregation="max")
    use(client, "higher", of="if(age < 30, 3, 1)", aggregation="max")
    complete(client, NOW - timedelta(hours=1))
    assert opened(check(client, catalog=catalog)) == {("spike", "higher")}
    complete(client)  # the next mark is built from those before
    assert check(client, catalog=catalog).changes == ()


def test_a_finding_stays_open_until_usage_strays_much_less(client: Client) -> None:
    use(client, "lingering", of="20 * if(age BETWEEN 20 AND 21, 4, if(age < 3, 1.87, 1))")
    complete(client, NOW - timedelta(hours=20))
    assert opened(check(client)) == {("spike", "lingering")}
    complete(client)
    found = check(client)
    assert found.changes == ()
    assert [each.key.customer_id for each in found.anomalies] == ["lingering"]


def test_usage_of_the_last_complete_hour_is_shown_by_meter(client: Client) -> None:
    use(client, "a")
    use(client, "b")
    use(client, "a", meter="files", of="age < 1 OR age > 2")
    complete(client, NOW - timedelta(hours=1))
    check(client)
    found = spend_so_far(client, now=NOW)
    ((per_customer,),) = client.query(
        "SELECT DISTINCT events FROM usage_hours FINAL WHERE meter = 'requests'"
        " AND window_start = {hour:DateTime('UTC')}",
        parameters={"hour": NOW - timedelta(hours=2)},
    ).result_rows
    assert found.events == {"requests": 2 * per_customer}
    assert found.active == {"requests": 2}
