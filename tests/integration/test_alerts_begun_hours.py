"""Hours that have begun on the real engine: told before they are over, by the same part of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from clickhouse_connect.driver.client import Client
from test_alerts import CATALOG, NOW, check, complete, opened, use

from metering.alert import FindingState
from metering.catalog import Aggregation, Meter
from metering.settings import Settings
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

#: What `use` lets a pair use in the hour that begins now; one of its neighbours has half as much
#: again, and a rise is held against the greatest of the three.
HOURLY = 210
FIVEFOLD, NOTHING = "if(age < 1, 5, 1)", "if(age < 1, 0, 1)"


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def so_far(
    client: Client, customer: str, amount: float, *, minute: int, meter: str = "requests"
) -> None:
    """What is counted of the hour that begins now: `amount`, the last of it in that minute."""
    if amount < 1:
        return
    client.command(
        "INSERT INTO usage_totals (customer_id, meter, `group`, window_start, stream, partition,"
        " aggregation, quantity, events, period_start, part_start, first_occurred_at,"
        " last_occurred_at, absorbed_offset)"
        f" SELECT '{customer}', '{meter}', '{{}}', toDateTime('{NOW:%Y-%m-%d %H:%M:%S}', 'UTC')"
        f" AS hour, 'live', 0, 'sum', {int(amount)}, {int(amount)}, toStartOfMonth(hour),"
        f" toStartOfMonth(hour), hour, hour + INTERVAL {minute} MINUTE, {2_000_000 + minute}",
        settings=INSERT_SETTINGS,
    )


def at(client: Client, minute: int) -> None:
    """Say that everything is there up to that minute of the hour that begins now."""
    complete(client, NOW + timedelta(minutes=minute))


def learnt(client: Client) -> list[object]:
    """All that is kept of what is usual."""
    return [
        client.query(f"SELECT * EXCEPT {when} FROM {table} FINAL ORDER BY ALL").result_rows
        for table, when in (
            ("usage_marks", "built_at"), ("usage_profiles", "built_at"),
            ("usage_noise", "built_at"), ("usage_deviations", "judged_at"),
        )
    ]  # fmt: skip


def test_case_18_part_of_an_hour_is_compared_with_the_same_part_of_what_is_usual(
    client: Client,
) -> None:
    visitors = Meter("visitors", "visitor", Aggregation.UNIQUE_COUNT, counted_dimension="visitor")
    catalog = replace(CATALOG, meters={**CATALOG.meters, "visitors": visitors})

    def until(minute: int) -> None:
        """Usage up to that minute, and a check."""
        amount = HOURLY * minute / 60
        for customer, times in (("steady", 1), ("rising", 5), ("risen", 1), ("fallen", 1)):
            so_far(client, customer, times * amount, minute=minute - 1)
        so_far(client, "distinct", 5 * amount, minute=minute - 1, meter="visitors")
        at(client, minute)

    use(client, "steady")
    use(client, "rising", of=FIVEFOLD)
    use(client, "risen", of=FIVEFOLD)
    use(client, "fallen", of=NOTHING)
    use(client, "silent", of=NOTHING)
    # Distinct values do not add up evenly, a batch comes when it usually comes, and what lies
    # beyond the moment that everything is complete to is not of the part that is judged.
    use(client, "distinct", of=FIVEFOLD, meter="visitors")
    use(client, "on-the-hour", of=FIVEFOLD, minutes=(0, 1))
    so_far(client, "on-the-hour", HOURLY, minute=1)
    use(client, "at-half-past", of=NOTHING, minutes=(30, 31))
    use(client, "ahead", of=FIVEFOLD)
    so_far(client, "ahead", HOURLY, minute=50)

    until(10)
    assert check(client, catalog=catalog).changes == ()
    before = learnt(client)
    assert all(before)
    until(20)
    found = check(client, catalog=catalog)
    assert found.mark == NOW
    assert opened(found) == {("spike", "rising"), ("silence", "silent")}
    rising = next(each.finding for each in found.changes if each.finding.observed)
    assert rising.window_start == NOW + timedelta(hours=1)
    assert rising.window_hours == 2
    assert float(rising.expected) == pytest.approx(1.5 * HOURLY * (1 + 20 / 50), rel=0.1)
    assert learnt(client) == before
    until(45)
    later = check(client, catalog=catalog)
    assert opened(later) == {("silence", "at-half-past")}
    assert len(later.changes) == 1


def test_what_an_hour_told_when_it_had_begun_is_not_told_again_when_it_is_over(
    client: Client,
) -> None:
    use(client, "rising", of=FIVEFOLD)
    so_far(client, "rising", 5 * HOURLY / 3, minute=19)
    use(client, "fallen", of=NOTHING)
    so_far(client, "fallen", 5, minute=19)
    use(client, "brief", of="if(age < 1, 2.6, 1)")
    so_far(client, "brief", HOURLY + 40, minute=19)
    at(client, 20)
    first = check(client)
    assert opened(first) == {("spike", "rising"), ("drop", "fallen"), ("spike", "brief")}
    at(client, 40)
    assert check(client).changes == ()
    so_far(client, "rising", 5 * HOURLY, minute=55)
    so_far(client, "fallen", 15, minute=55)
    so_far(client, "brief", HOURLY + 45, minute=55)
    complete(client, NOW + timedelta(hours=1))
    whole = check(client)
    assert [(each.state, each.finding.key.customer_id) for each in whole.changes] == [
        (FindingState.RESOLVED, "brief")
    ]
    assert len(whole.anomalies) == 2
    client.command("TRUNCATE TABLE alert_findings")
    alone = check(client)
    assert {each.change_id for each in alone.changes} == {
        each.change_id for each in first.changes if each.finding.key.customer_id != "brief"
    }
