"""`meterline rejects`: what could not be counted is listed, mended and sent again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree

import pytest
from counting import answer, count, event, meterline, plant, produce, rows, totals

from metering.metrics import StewardMetrics
from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.rejects_job import rejects_job

_UNBOUND = event(1, customer_id=None, subject="vm-unbound")
_UNKNOWN = event(2, meter="gpu_minutes")


@pytest.fixture
def rejected(settings: Settings, tmp_path: Path) -> Settings:
    """A deployment with a catalog of its own that rejected four of its seven events."""
    own = settings.model_copy(update={"catalog": copytree(settings.catalog, tmp_path / "catalog")})
    produce(own, [event(0), _UNBOUND, b"\xff{", _UNKNOWN, event(3), event(3, quantity="77")])
    produce(own, [json.dumps([event(4), event(5, quantity="NaN")]).encode()])
    count(own)
    return own


def _coordinate(settings: Settings, code: str) -> str:
    found = answer(settings, "rejects", "list", "--code", code)
    coordinate: str = found["events"][0]["coordinate"]
    return coordinate


def test_rejects_are_counted_by_code_and_shown_with_their_bytes(rejected: Settings) -> None:
    found = answer(rejected, "rejects", "list")
    assert {each["code"]: each["count"] for each in found["counts"]} == {
        "identity_must_not_repeat_with_other_payload": 1,
        "message_must_be_valid_json": 1,
        "meter_must_be_known": 1,
        "quantity_must_be_finite": 1,
        "subject_must_be_bound": 1,
    }
    place = _coordinate(rejected, "quantity_must_be_finite")
    assert place.endswith("/6/1")
    shown = meterline(rejected, "rejects", "show", place)
    assert shown.returncode == 0
    assert '"quantity": "NaN"' in shown.stdout
    assert "expected a finite quantity" in shown.stdout
    broken = answer(
        rejected, "rejects", "show", _coordinate(rejected, "message_must_be_valid_json")
    )
    assert bytes.fromhex(broken["event_hex"]) == b"\xff{"


def test_the_list_is_filtered_by_code_age_and_number(rejected: Settings) -> None:
    recent = answer(rejected, "rejects", "list", "--since", "1h", "--limit", "2")
    assert (len(recent["events"]), sum(each["count"] for each in recent["counts"])) == (2, 5)
    assert answer(rejected, "rejects", "list", "--since", "2999-01-01T00:00:00Z")["counts"] == []
    wrong = meterline(rejected, "rejects", "list", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "expected a time like" in wrong.stderr


def test_show_says_where_to_look_when_there_is_no_such_reject(rejected: Settings) -> None:
    done = meterline(rejected, "rejects", "show", "usage.events:x/0/99/0")
    assert done.returncode == 2
    assert "expected a rejected event at usage.events:x/0/99/0, got none" in done.stderr
    assert meterline(rejected, "rejects", "show", "nonsense").returncode == 2


def test_case_22_dead_letters_are_listed_mended_replayed_and_told_of(rejected: Settings) -> None:
    told = answer(rejected, "doctor")["checks"]
    piled = next(each for each in told if each["name"] == "rejects of the last day")
    assert piled["level"] == "warn"
    assert "meterline rejects list" in piled["todo"]
    code = ("--code", "subject_must_be_bound")

    early = meterline(rejected, "rejects", "replay", *code, "--yes")
    assert early.returncode == 1
    assert "1 would be rejected again by subject_must_be_bound: not sent" in early.stdout

    bindings = rejected.catalog / "bindings.yaml"
    bindings.write_text(
        bindings.read_text()
        + "  - {subject: vm-unbound, customer_id: org_9, from: 2026-01-01T00:00:00Z}\n"
    )
    dry = meterline(rejected, "rejects", "replay", *code, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "1 would pass now\n")
    assert rows(rejected, "SELECT count() FROM reject_replays")[0][0] == 0
    sent = meterline(rejected, "rejects", "replay", *code, "--yes", "--actor", "ann")
    assert "sent 1 events" in sent.stdout
    count(rejected)
    assert rows(rejected, "SELECT customer_id, toString(quantity) FROM usage_events FINAL "
                          "WHERE subject = 'vm-unbound'") == [("org_9", "1.25")]  # fmt: skip
    assert rows(rejected, "SELECT edited, actor FROM reject_replays") == [(False, "ann")]
    assert answer(rejected, "rejects", "list", *code)["counts"][0]["replayed"] == 1
    assert answer(rejected, "verify")["holds"]


def test_what_was_sent_is_not_sent_again_and_a_second_copy_counts_nothing(
    rejected: Settings,
) -> None:
    meters = rejected.catalog / "meters.yaml"
    meters.write_text(
        meters.read_text() + "  - {key: gpu_minutes, unit: minute, aggregation: sum}\n"
    )
    replay = ("rejects", "replay", "--code", "meter_must_be_known", "--yes")
    assert "sent 1 events" in meterline(rejected, *replay).stdout
    again = meterline(rejected, *replay)
    assert (again.returncode, "nothing to send" in again.stdout) == (0, True)
    assert "sent 1 events" in meterline(rejected, *replay, "--again").stdout
    count(rejected)
    assert rows(rejected, "SELECT sum(events) FROM live_usage WHERE meter = 'gpu_minutes'") == [
        (1,)
    ]
    assert rows(rejected, "SELECT count() FROM duplicate_events FINAL")[0][0] == 1


def test_one_event_is_mended_by_hand_and_sent_in_its_place(
    rejected: Settings, tmp_path: Path
) -> None:
    place = _coordinate(rejected, "quantity_must_be_finite")
    mended = tmp_path / "mended.json"
    mended.write_text(json.dumps(event(5, quantity="still wrong")))
    replay = ("rejects", "replay", "--coordinate", place, "--edit", str(mended), "--yes")
    wrong = meterline(rejected, *replay)
    assert wrong.returncode == 1
    assert "quantity_must_be_number: not sent" in wrong.stdout
    mended.write_text(json.dumps(event(5, quantity="0.000000000001")))
    assert meterline(rejected, *replay).returncode == 0
    count(rejected)
    assert rows(rejected, "SELECT toString(quantity) FROM usage_events FINAL WHERE id = 'event-5'"
                ) == [("0.000000000001",)]  # fmt: skip
    assert rows(rejected, "SELECT edited FROM reject_replays") == [(True,)]


def test_without_a_yes_nothing_is_sent(rejected: Settings) -> None:
    before = totals(rejected)
    place = _coordinate(rejected, "identity_must_not_repeat_with_other_payload")
    forced = ("rejects", "replay", "--coordinate", place, "--force")
    refused = meterline(rejected, *forced, stdin="n\n")
    assert refused.returncode == 1
    assert rows(rejected, "SELECT count() FROM reject_replays")[0][0] == 0
    assert meterline(rejected, *forced, stdin="y\n").returncode == 0
    count(rejected)
    assert totals(rejected) == before
    assert answer(rejected, "rejects", "list")["counts"][0] == {
        "code": "identity_must_not_repeat_with_other_payload", "count": 2, "replayed": 1,
    }  # fmt: skip


def test_replay_asks_for_one_way_of_choosing(rejected: Settings) -> None:
    for arguments in ([], ["--all", "--code", "meter_must_be_known"], ["--all", "--edit", "x"]):
        done = meterline(rejected, "rejects", "replay", *arguments)
        assert done.returncode == 2, arguments


def test_replay_fails_loudly_while_kafka_is_away(
    rejected: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = meterline(rejected, "rejects", "replay", "--all", "--force", "--yes")
    assert done.returncode == 75
    assert "Kafka did not take all events" in done.stderr
    assert rows(rejected, "SELECT count() FROM reject_replays")[0][0] == 0


def test_what_waits_to_be_mended_shows_in_the_metrics_of_the_steward(rejected: Settings) -> None:
    metrics = StewardMetrics()
    client = connect_clickhouse(rejected)
    run = rejects_job(client, metrics=metrics, now=lambda: datetime.now(UTC))

    def waiting(code: str) -> int:
        return int(metrics.rejects_waiting.labels(code)._value.get())

    run()
    assert waiting("meter_must_be_known") == waiting("subject_must_be_bound") == 1
    plant(
        rejected,
        "INSERT INTO reject_replays (stream, partition, offset, `index`, edited, actor) SELECT "
        "stream, partition, offset, `index`, 1, 'ann' FROM rejected_events "
        "WHERE code = 'meter_must_be_known'",
    )
    run()
    assert (waiting("meter_must_be_known"), waiting("subject_must_be_bound")) == (0, 1)
    client.close()
