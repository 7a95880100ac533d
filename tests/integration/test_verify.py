"""`meterline verify`: every way in which the law of conservation may be broken is seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from counting import (
    answer,
    count,
    event,
    meterline,
    plant,
    produce,
    rows,
    start_worker,
    stop_worker,
    totals,
    wait_until,
)

from metering.settings import Settings

_TOTAL = "customer_id, meter, `group`, window_start, stream, partition"


@pytest.fixture
def counted(settings: Settings) -> Settings:
    """A deployment that counted events, copies, conflicts, rejects and an array."""
    events: list[dict[str, Any] | bytes] = [event(n) for n in range(400)]
    events += [event(n) for n in range(20)]
    events += [event(n, quantity="99") for n in range(40, 45)]
    events += [b"{", event(1000, meter="unheard_of"), event(1001, subject="loadtest-7")]
    events.append(json.dumps([event(n) for n in range(2000, 2010)]).encode())
    events += [
        event(3000 + n, meter="active_users", dimensions={"user_id": f"u{n % 2}"})
        for n in range(30)
    ]
    produce(settings, events)
    count(settings)
    return settings


def test_the_law_holds_after_counting_and_every_event_is_named_once(counted: Settings) -> None:
    done = meterline(counted, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conservation holds" in done.stdout
    found = answer(counted, "verify")
    balance = next(each for each in found["balances"] if each["cut"]["partition"] == 0)
    assert found["holds"]
    assert (balance["accepted"], balance["duplicates"], balance["conflicts"]) == (440, 20, 5)
    assert (balance["rejected"], balance["suppressed"], balance["missing"]) == (2, 1, 0)
    assert found["totals"]["compared"] == len(rows(counted, "SELECT 1 FROM usage_totals FINAL"))


def test_a_wrong_total_is_found_with_expected_and_got_and_repaired(counted: Settings) -> None:
    before = totals(counted)
    plant(counted, "INSERT INTO usage_totals SELECT * REPLACE (quantity + 5 AS quantity) FROM "
                   "usage_totals FINAL WHERE meter = 'api_requests' LIMIT 1")  # fmt: skip
    found = answer(counted, "verify")
    assert found["totals"]["differing"] == 1
    shown = found["totals"]["shown"][0]
    assert float(shown["got"]["quantity"]) == float(shown["expected"]["quantity"]) + 5
    told = meterline(counted, "verify")
    assert told.returncode == 1
    assert "+5" in told.stdout
    repaired = meterline(counted, "verify", "--repair")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "1 of 1 wrong totals written anew" in repaired.stdout
    assert totals(counted) == before


@pytest.mark.parametrize("meter", ["storage_gb", "documents_processed", "seats", "active_users"])
def test_every_aggregation_is_added_up_and_repaired(counted: Settings, meter: str) -> None:
    before = totals(counted)
    plant(counted, f"INSERT INTO usage_totals SELECT * REPLACE (quantity + 1 AS quantity, "
                   "events + 1 AS events) FROM usage_totals FINAL "
                   f"WHERE meter = '{meter}'")  # fmt: skip
    assert answer(counted, "verify")["totals"]["differing"] > 0
    assert meterline(counted, "verify", "--repair").returncode == 0
    assert totals(counted) == before


def test_a_lost_total_and_one_without_events_are_found_and_repaired(counted: Settings) -> None:
    before = totals(counted)
    plant(counted, f"DELETE FROM usage_totals WHERE ({_TOTAL}) IN "
                   f"(SELECT {_TOTAL} FROM usage_totals FINAL "
                   "WHERE meter = 'seats' LIMIT 1)")  # fmt: skip
    plant(counted, "INSERT INTO usage_totals SELECT * REPLACE ('ghost' AS customer_id) FROM "
                   "usage_totals FINAL WHERE meter = 'storage_gb' LIMIT 1")  # fmt: skip
    assert answer(counted, "verify")["totals"]["differing"] == 2
    assert meterline(counted, "verify", "--repair").returncode == 0
    assert totals(counted) == before
    assert rows(counted, "SELECT 1 FROM live_usage WHERE customer_id = 'ghost'") == []


def test_an_extra_raw_row_is_found_as_a_second_event_at_one_coordinate(counted: Settings) -> None:
    plant(counted, "INSERT INTO usage_events SELECT * REPLACE (unhex('00112233445566778899aabbcc"
                   "ddeeff') AS identity) FROM usage_events "
                   "WHERE meter = 'api_requests' LIMIT 1")  # fmt: skip
    found = answer(counted, "verify")
    assert not found["holds"]
    assert sum(balance["doubled"] for balance in found["balances"]) == 1
    assert found["totals"]["differing"] == 1


def test_a_missing_offset_is_named_and_counts_again_after_rewind(counted: Settings) -> None:
    before = totals(counted)
    plant(counted, "DELETE FROM usage_events WHERE partition = 0 AND offset BETWEEN 100 AND 104")
    plant(counted, "DELETE FROM duplicate_events WHERE partition = 0 AND offset = 410")
    found = answer(counted, "verify")
    balance = next(each for each in found["balances"] if each["missing"])
    assert balance["missing_ranges"] == [[100, 105], [410, 411]]
    place = f"{balance['cut']['stream']}/{balance['cut']['partition']}"
    told = meterline(counted, "verify")
    assert f"meterline rewind {place} --to 100" in told.stdout
    rewound = meterline(counted, "rewind", place, "--to", "100", "--yes")
    assert rewound.returncode == 0, rewound.stderr
    early = meterline(counted, "verify", "--repair")
    assert early.returncode == 1
    assert f"not repaired: totals of {place}" in early.stdout
    count(counted)
    done = meterline(counted, "verify")
    assert done.returncode == 0, done.stdout
    assert totals(counted) == before


def test_rewind_refuses_what_is_not_the_log_of_now(counted: Settings) -> None:
    plant(counted, "INSERT INTO streams VALUES ('old:1', 'live', 'old', 'gone', now64(3))")
    for place, told in (("old:1/0", "whose topic is gone"), ("none/0", "expected a stream")):
        done = meterline(counted, "rewind", place, "--to", "0", "--yes")
        assert done.returncode == 2, done.stdout
        assert told in done.stderr
    stream = rows(counted, "SELECT stream FROM streams WHERE stream != 'old:1'")[0][0]
    beyond = meterline(counted, "rewind", f"{stream}/0", "--to", "999999", "--yes")
    assert beyond.returncode == 2
    assert "expected the log to hold 999999" in beyond.stderr


def test_rewind_is_refused_while_a_worker_runs(counted: Settings) -> None:
    stream = rows(counted, "SELECT stream FROM streams")[0][0]
    worker = start_worker(counted)
    try:
        wait_until(lambda: any(
            check["found"].endswith("1 members") for check in answer(counted, "doctor")["checks"]
        ))  # fmt: skip
        refused = meterline(counted, "rewind", f"{stream}/0", "--to", "0", "--yes")
    finally:
        stop_worker(worker)
    assert refused.returncode == 2
    assert "expected no members, got 1" in refused.stderr


def test_a_copy_that_a_merge_may_drop_is_recorded_as_a_duplicate(counted: Settings) -> None:
    """Redis lost its memory, and two partitions accepted the same event at the same time."""
    plant(counted, "SYSTEM STOP MERGES usage_events")
    plant(counted, "INSERT INTO usage_events SELECT * REPLACE (1 AS partition, 0 AS offset, "
                   "record_time + 5 AS record_time) "
                   "FROM (SELECT * FROM usage_events WHERE offset = 7)")  # fmt: skip
    plant(counted, "INSERT INTO watermarks SELECT stream, 1, 0, 1, watermark, written_at "
                   "FROM watermarks WHERE partition = 0 LIMIT 1")  # fmt: skip
    found = answer(counted, "verify")
    assert [(b["missing"], b["superseded"]) for b in found["balances"] if b["missing"]] == [(1, 1)]
    assert meterline(counted, "verify", "--repair").returncode == 0
    assert rows(counted, "SELECT owner_partition, owner_offset FROM duplicate_events "
                         "WHERE partition = 1") == [(0, 7)]  # fmt: skip


def test_a_distinct_value_that_counts_twice_is_found(counted: Settings) -> None:
    plant(counted, "INSERT INTO usage_events SELECT * REPLACE (true AS counted) FROM (SELECT * "
                   "FROM usage_events FINAL "
                   "WHERE meter = 'active_users' AND NOT counted LIMIT 1)")  # fmt: skip
    found = answer(counted, "verify")
    assert found["distinct_differing"] == 1
    assert found["distinct"][0]["got"] == found["distinct"][0]["expected"] + 1


def test_an_identity_that_two_customers_hold_is_found(counted: Settings) -> None:
    produce(counted, [event(5000, customer_id=None, subject="vm-17")])
    count(counted)
    plant(counted, "INSERT INTO usage_events SELECT * REPLACE ('another' AS customer_id, "
                   "offset + 1 AS offset) FROM usage_events WHERE subject = 'vm-17'")  # fmt: skip
    found = answer(counted, "verify")
    assert found["identities_shared"] == 1
    assert found["shared"][0]["customers"] == ["another", "org_123"]


def test_a_copy_without_an_original_is_found_unless_it_may_come(counted: Settings) -> None:
    plant(counted, "INSERT INTO duplicate_events SELECT * REPLACE (reverse(identity) AS identity, "
                   "offset + 100000 AS offset, 3 AS owner_offset) FROM (SELECT * FROM "
                   "duplicate_events FINAL WHERE owner_partition = 0 LIMIT 1)")  # fmt: skip
    found = answer(counted, "verify")
    assert (found["originals_lost"], found["holds"]) == (1, False)
    plant(counted, "INSERT INTO duplicate_events SELECT * REPLACE (1000000 AS owner_offset, "
                   "recorded_at + 1 AS recorded_at) FROM (SELECT * FROM duplicate_events FINAL "
                   "WHERE offset >= 100000)")  # fmt: skip
    assert answer(counted, "verify")["originals_lost"] == 0, "its original may be on its way"


def test_the_answer_is_right_while_a_worker_counts(settings: Settings) -> None:
    produce(settings, [event(n) for n in range(3000)])
    worker = start_worker(settings)
    try:
        wait_until(lambda: rows(settings, "SELECT count() FROM watermarks")[0][0] > 0)
        for round_number in range(6):
            produce(settings, [event(10_000 * (round_number + 1) + n) for n in range(3000)])
            found = answer(settings, "verify")
            assert found["holds"], found
    finally:
        stop_worker(worker)
    assert answer(settings, "verify")["holds"]


def test_repair_beside_a_running_worker_ends_with_right_totals(settings: Settings) -> None:
    produce(settings, [event(n) for n in range(1000)])
    worker = start_worker(settings)
    try:
        wait_until(lambda: rows(settings, "SELECT count() FROM usage_events")[0][0] == 1000)
        wait_until(lambda: answer(settings, "verify")["balances"][0]["in_flight"] == 0)
        plant(settings, "INSERT INTO usage_totals SELECT * REPLACE (quantity + 5 AS quantity) "
                        "FROM usage_totals FINAL")  # fmt: skip
        produce(settings, [event(10_000 + n) for n in range(1000)])
        repaired = meterline(settings, "verify", "--repair")
        assert repaired.returncode == 0, repaired.stdout + repaired.stderr
        produce(settings, [event(20_000 + n) for n in range(1000)])
        wait_until(lambda: rows(settings, "SELECT count() FROM usage_events")[0][0] == 3000)
    finally:
        stop_worker(worker)
    assert answer(settings, "verify")["holds"]
    assert sum(row[5] for row in totals(settings)) == 3000


def test_verify_says_what_to_do_when_a_server_does_not_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", "http://default:@127.0.0.1:1/")
    done = meterline(settings, "verify")
    assert done.returncode == 75
    assert "error: ClickHouse" in done.stderr
    assert "while connecting" in done.stderr
