"""Findings on the real engine: spikes, drops, silence, thresholds; told once, whatever crashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer
from counting import answer

from alerts.check import AlertCheck, Checked, Outlet
from alerts.deltas import deltas
from alerts.detection import Detection, write
from alerts.marks import BUILD_NEXT_MARK
from metering.alert import Change, FindingKey, FindingKind, FindingState
from metering.catalog import Aggregation, Catalog, Meter, MeterAlerts, Sensitivity
from metering.catalog_alerts import Budgets
from metering.catalog_load import load_catalog
from metering.errors import DependencyDown
from metering.settings import Settings
from sinks.alert_topic import AlertTopic
from sinks.alert_webhook import AlertWebhook
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse

#: The last noon. What a pair strays before midnight is noise of the day before after it, so that a
#: check which is the first one finds less of it in the hours that follow.
NOW = (datetime.now(UTC) - timedelta(hours=12)).replace(hour=12, minute=0, second=0, microsecond=0)
WEEKS = 12
NO_BUDGETS = Budgets({}, {})
CATALOG = Catalog(
    {
        "requests": Meter("requests", "request", Aggregation.SUM),
        "files": Meter("files", "file", Aggregation.SUM),
        "muted": Meter("muted", "request", Aggregation.SUM, alerts=MeterAlerts(Sensitivity.OFF)),
    }
)


class Memory:
    """An outlet that remembers, and refuses as long as it is told to."""

    name = "memory"

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.is_down = False
        self.dies_after_taking = False

    def send(self, changes: Sequence[Change]) -> list[Change]:
        if self.is_down:
            msg = "Memory is down"
            raise DependencyDown(msg)
        self.taken += [each.change_id for each in changes]
        if self.dies_after_taking:
            raise KeyboardInterrupt
        return list(changes)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    found = connect_clickhouse(settings)
    yield found
    found.close()


def use(
    client: Client, customer: str, *, of: str = "1", meter: str = "requests",
    minutes: tuple[int, int] = (0, 50), aggregation: str = "sum",
) -> None:  # fmt: skip
    """Twelve weeks of hourly totals that swing with the day: `of` is SQL over `age` (hours).

    `minutes` of each hour hold its first and its last event.
    """
    client.command(
        "INSERT INTO usage_totals (customer_id, meter, `group`, window_start, stream, partition,"
        " aggregation, quantity, events, period_start, part_start, first_occurred_at,"
        " last_occurred_at, absorbed_offset)"
        f" SELECT '{customer}', '{meter}', '{{}}', toDateTime('{NOW:%Y-%m-%d %H:%M:%S}', 'UTC')"
        f" - toIntervalHour(number + 1) AS hour, 'live', 0, '{aggregation}',"
        " toDecimal256(amount, 12), toUInt64(amount), toStartOfMonth(hour), toStartOfMonth(hour),"
        f" hour + INTERVAL {minutes[0]} MINUTE, hour + INTERVAL {minutes[1]} MINUTE,"
        " 1000000 - number"
        f" FROM (SELECT number, number AS age, (200 + 100 * (number % 24 < 12)"
        f" + cityHash64(number) % 20) * ({of}) AS amount FROM numbers({WEEKS * 168}))"
        " WHERE amount >= 1",
        settings=INSERT_SETTINGS,
    )


def complete(client: Client, moment: datetime = NOW) -> None:
    """Say that everything is there up to `moment`."""
    client.insert(
        "streams", [["usage.events:1", "live", "usage.events", "1", NOW]], column_names="*",
        settings=INSERT_SETTINGS,
    )  # fmt: skip
    client.insert(
        "watermarks", [["usage.events:1", 0, 0, 1, moment]],
        column_names=["stream", "partition", "first_offset", "next_offset", "watermark"],
        settings=INSERT_SETTINGS,
    )  # fmt: skip


def check(client: Client, *outlets: Outlet, catalog: Catalog = CATALOG) -> Checked:
    found = AlertCheck(client, catalog, budgets=NO_BUDGETS, outlets=outlets)
    return found.run(datetime.now(UTC))


def opened(checked: Checked) -> set[tuple[str, str]]:
    return {
        (str(each.finding.key.kind), each.finding.key.customer_id)
        for each in checked.changes
        if each.state is FindingState.OPENED
    }


def test_case_18_spike_drop_to_silence_and_a_previous_value_of_zero(client: Client) -> None:
    use(client, "steady")
    use(client, "spiking", of="if(age < 6, 3, 1)")
    use(client, "silent", of="if(age < 6, 0, 1)")
    use(client, "dropping", of="if(age < 24, 0.2, 1)")
    use(client, "young", of="if(age < 6, 8, age < 6 * 168)")
    use(client, "waking", of="if(age < 6, 3, 0)")
    use(client, "once", of="if(age > 9 * 168, 1, if(age < 3, 1, 0))")
    use(client, "muted", of="if(age < 6, 3, 1)", meter="muted")
    use(client, "gone", of="if(age < 6, 0, 1)")
    use(client, "gone", of="if(age < 7, 0, 1)", meter="files")
    use(client, "partly", of="if(age < 6, 0, 1)", meter="files")
    use(client, "partly")
    complete(client)
    found = check(client)
    assert found.mark == NOW
    assert opened(found) == {
        ("spike", "spiking"), ("silence", "silent"), ("drop", "dropping"), ("silence", "gone"),
        ("silence", "partly"),
    }  # fmt: skip
    silent = {each.finding.key.customer_id for each in found.changes if not each.finding.key.meter}
    assert silent == {"gone"}
    (silence,) = [
        each.finding
        for each in found.changes
        if each.finding.key == FindingKey(FindingKind.SILENCE, "silent", "requests")
    ]
    assert silence.observed == 0
    assert silence.ratio == 0
    assert check(client).changes == ()


def test_case_18_a_window_that_is_not_over_is_not_compared_with_a_full_one(client: Client) -> None:
    use(client, "steady", of="if(age < 2, 0.1, 1)")
    complete(client, NOW - timedelta(hours=2) + timedelta(minutes=59))
    found = check(client)
    assert found.mark == NOW - timedelta(hours=2)
    assert found.changes == ()


def test_a_finding_is_resolved_when_usage_is_as_usual_again(client: Client) -> None:
    use(client, "back", of="if(age BETWEEN 180 AND 190, 4, 1)")
    memory = Memory()
    complete(client, NOW - timedelta(hours=180))
    first = check(client, memory)
    assert opened(first) == {("spike", "back")}
    complete(client, NOW)
    second = check(client, memory)
    assert [each.state for each in second.changes] == [FindingState.RESOLVED]
    assert second.anomalies == ()
    finding = first.changes[0].finding.finding_id
    assert memory.taken == [f"{finding}-opened", f"{finding}-resolved"]


def test_marks_built_again_are_the_same(client: Client) -> None:
    use(client, "steady")
    use(client, "spiking", of="if(age < 6, 3, 1)")
    complete(client)
    check(client)

    def kept() -> list[object]:
        """All but the first weeks of profiles, which had nothing before them."""
        return [
            client.query(f"SELECT {columns} FROM {table} FINAL ORDER BY ALL").result_rows
            for table, columns in (
                ("usage_marks", "mark, pair, q, n"),
                ("usage_deviations", "mark, pair, scale, q, n, usual"),
            )
        ]

    before = kept()
    assert all(before)
    client.command("TRUNCATE TABLE alert_progress")
    client.command("TRUNCATE TABLE usage_profiles")
    client.command("TRUNCATE TABLE usage_noise")
    Detection(client, CATALOG).judge()
    assert kept() == before


def test_a_mark_from_those_before_is_that_from_usage_by_hour(client: Client) -> None:
    use(client, "steady")
    use(client, "rare", of="number % 50 = 3")
    complete(client)
    Detection(client, CATALOG).judge()
    newest = (
        "SELECT pair, q, n FROM usage_marks FINAL WHERE mark = {mark:DateTime('UTC')} ORDER BY ALL"
    )
    span = {"first": NOW, "last": NOW}
    at = {"mark": NOW}
    whole = client.query(newest, parameters=at).result_rows
    assert len(whole) == 2
    client.command(
        "ALTER TABLE usage_marks DELETE WHERE mark = {mark:DateTime('UTC')}",
        parameters=at,
        settings={"mutations_sync": 1},
    )
    assert client.query(newest, parameters=at).result_rows == []
    write(client, BUILD_NEXT_MARK, parameters=span)
    assert client.query(newest, parameters=at).result_rows == whole


def test_late_usage_ends_a_silence_without_waiting_for_the_next_hour(client: Client) -> None:
    use(client, "late", of="if(age < 6, 0, 1)")
    complete(client)
    assert opened(check(client)) == {("silence", "late")}
    use(client, "late", of="age < 6")
    assert [each.state for each in check(client).changes] == [FindingState.RESOLVED]


def test_an_outlet_that_is_away_gets_everything_later_and_a_crash_repeats_the_same_id(
    client: Client,
) -> None:
    use(client, "spiking", of="if(age < 6, 3, 1)")
    complete(client)
    memory = Memory()
    memory.is_down = True
    assert check(client, memory).undelivered == ("memory",)
    memory.is_down, memory.dies_after_taking = False, True
    with pytest.raises(KeyboardInterrupt):
        check(client, memory)
    memory.dies_after_taking = False
    assert check(client, memory).undelivered == ()
    assert check(client, memory).changes == ()
    assert len(memory.taken) == 2
    assert len(set(memory.taken)) == 1


def test_findings_reach_the_topic_and_a_signed_webhook_and_the_command(
    settings: Settings, client: Client
) -> None:
    use(client, "spiking", of="if(age < 6, 3, 1)", meter="api_requests")
    complete(client)
    posted: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((dict(self.headers), body))
            self.send_response(503 if len(posted) == 1 else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    config = {"bootstrap.servers": settings.kafka_bootstrap_servers}
    done = answer(settings, "alerts", "check", "--quiet")
    assert done["open"] == 1
    outlets = (
        AlertTopic(config, settings.alerts_topic),
        AlertWebhook(url, "secret", is_private_allowed=True, wait_s_max=1),
    )
    of_stack = load_catalog(settings.catalog)
    assert check(client, *outlets, catalog=of_stack).undelivered == ()
    server.shutdown()
    assert len(posted) == 2
    assert posted[0][1] == posted[1][1]
    headers, body = posted[1]
    stamp, _, signed = headers["Meterline-Signature"].partition(",v1=")
    text = stamp.removeprefix("t=").encode() + b"." + body
    assert hmac.compare_digest(hmac.new(b"secret", text, hashlib.sha256).hexdigest(), signed)
    consumer = Consumer({**config, "group.id": "alerts-test", "auto.offset.reset": "earliest"})
    consumer.subscribe([settings.alerts_topic])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    document = json.loads(message.value() or b"")
    assert document == json.loads(body) == done["changes"][0]
    assert document["kind"] == "spike"
    assert headers["Meterline-Id"] == document["id"]
    (listed,) = answer(settings, "alerts", "list", "--customer", "spiking")
    assert listed == answer(settings, "alerts", "show", document["finding_id"])[0] == document


def test_a_period_is_compared_with_the_same_stretch_of_the_last_once(client: Client) -> None:
    """Case 18: five days of a period against five days of the one before, not against all of it."""
    started = NOW - timedelta(days=5, hours=3)
    ages = 5 * 24 + 3
    use(client, "grown", of=f"if(age < {ages}, 2.5, 1)")
    use(client, "shrunk", of=f"if(age < {ages}, 0.3, 1)")
    use(client, "steady")
    use(client, "without")
    before = started - timedelta(days=30)
    client.insert(
        "billing_periods",
        [
            [customer, begins, begins + timedelta(days=30), NOW]
            for customer in ("grown", "shrunk", "steady")
            for begins in (before, started)
        ],
        column_names=["customer_id", "period_start", "period_end", "updated_at"],
        settings=INSERT_SETTINGS,
    )
    complete(client)
    found = check(client)
    told = {
        each.finding.key.customer_id: each.finding
        for each in found.changes
        if each.finding.key.kind is FindingKind.DELTA
    }
    assert {name: each.key.threshold for name, each in told.items()} == {
        "grown": "up", "shrunk": "down",
    }  # fmt: skip
    assert told["grown"].window_hours == 5 * 24
    assert round(told["grown"].ratio or 0, 1) == 2.5
    assert FindingKind.DELTA in {each.key.kind for each in found.anomalies}
    assert check(client).changes == ()
    assert deltas(client, CATALOG, mark=NOW - timedelta(days=4), limit=10) == []
