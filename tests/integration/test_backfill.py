"""`meterline backfill`: files count once, exactly, however often and wherever they are cut off."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counting import answer, count, environment, event, meterline, plant, produce, rows, totals

from metering.settings import Settings
from sinks.archive_format import Records, encode_records

_DIGITS = "12345678901234567890.123456789012"
_MAX_ROWS = "METERLINE_BATCH_EVENTS_MAX", "METERLINE_FLUSH_ROWS_MAX"
_KILLED = """
import os, signal, sys
import dataflows.backfill as backfill
from cli.main import main

class Killed(backfill.Backfill):
    def __init__(self, *arguments, **named):
        left = {"flushes": 3}
        def before(step):
            if step == int(os.environ["KILL_BEFORE_STEP"]):
                left["flushes"] -= 1
                if not left["flushes"]:
                    os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(*arguments, **named, before_step=before)

import cli.backfill
cli.backfill.Backfill = Killed
main()
"""


def _ndjson(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    return path


def _csv(path: Path, events: list[dict[str, Any]]) -> Path:
    names = ["id", "customer_id", "meter", "quantity", "occurred_at", "dimensions.region"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for each in events:
            writer.writerow([*(each[name] for name in names[:5]), each["dimensions"]["region"]])
    return path


def _parquet(path: Path, events: list[dict[str, Any]]) -> Path:
    columns = {
        "id": [each["id"] for each in events],
        "customer_id": [each["customer_id"] for each in events],
        "meter": pa.array([each["meter"] for each in events]).dictionary_encode(),
        "quantity": pa.array([Decimal(each["quantity"]) for each in events], pa.decimal128(38, 12)),
        "occurred_at": pa.array(
            [datetime.fromisoformat(each["occurred_at"]) for each in events],
            pa.timestamp("ns", "Europe/Berlin"),
        ),
        "dimensions": pa.array(
            [list(each["dimensions"].items()) for each in events], pa.map_(pa.string(), pa.string())
        ),
    }
    pq.write_table(pa.table(columns), path, row_group_size=150)
    return path


def _archived(path: Path, events: list[dict[str, Any]]) -> Path:
    """A file as the archive has it: some offsets are not there, the last message has no value."""
    messages = [*(json.dumps(each).encode() for each in events), None]
    count_ = len(messages)
    records = Records(
        list(range(7000, 7000 + 2 * count_, 2)), [1_780_000_000_000] * count_, [None] * count_,
        messages, [None] * count_,
    )  # fmt: skip
    path.write_bytes(encode_records(records))
    return path


_WRITERS = {
    "ndjson": _ndjson, "csv": _csv, "parquet": _parquet, "archived.parquet": _archived
}  # fmt: skip


def _events(count_: int) -> list[dict[str, Any]]:
    return [event(n, **({"quantity": _DIGITS} if n == 8 else {})) for n in range(count_)]


@pytest.mark.parametrize("kind", _WRITERS)
def test_every_format_gives_the_totals_of_the_live_stream(
    settings: Settings, tmp_path: Path, kind: str
) -> None:
    events = _events(400)
    path = _WRITERS[kind](tmp_path / f"events.{kind}", events)
    done = answer(settings, "backfill", str(path))[0]
    assert (done["accepted"], done["rejected"], done["duplicates"]) == (400, 0, 0)
    assert rows(settings, "SELECT toString(quantity), toString(occurred_at) FROM usage_events "
                          "WHERE id = 'event-8'")[0][0] == _DIGITS  # fmt: skip
    before = totals(settings)
    produce(settings, events)
    count(settings)
    assert rows(settings, "SELECT count() FROM duplicate_events FINAL")[0][0] == 400
    assert totals(settings) == before
    assert answer(settings, "verify")["holds"]


@pytest.mark.parametrize("kind", _WRITERS)
def test_the_same_file_again_changes_nothing(settings: Settings, tmp_path: Path, kind: str) -> None:
    path = _WRITERS[kind](tmp_path / f"events.{kind}", _events(300))
    first = answer(settings, "backfill", str(path))[0]
    before = totals(settings)
    copy = tmp_path / f"copy.{kind}"
    copy.write_bytes(path.read_bytes())
    again = answer(settings, "backfill", str(copy))[0]
    assert again["stream"] == first["stream"]
    assert (again["skipped"], again["accepted"], again["duplicates"]) == (300, 0, 0)
    whole = answer(settings, "backfill", str(path), "--from-start")[0]
    assert (whole["absorbed"], whole["accepted"], whole["duplicates"]) == (300, 0, 0)
    assert totals(settings) == before
    assert answer(settings, "verify")["holds"]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_killed_in_the_middle_and_repeated_every_event_counts_once(
    settings: Settings, tmp_path: Path, step: int
) -> None:
    events = _events(1000)
    events += events[:50]
    path = _ndjson(tmp_path / "events.ndjson", events)
    variables = {**environment(settings), **dict.fromkeys(_MAX_ROWS, "100")}
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, "backfill", str(path)], check=False, capture_output=True,
        env={**variables, "KILL_BEFORE_STEP": str(step)},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = answer(settings, "backfill", str(path))[0]
    assert 0 < done["skipped"] < 1000
    assert answer(settings, "verify")["holds"]
    assert rows(settings, "SELECT count() FROM usage_events FINAL")[0][0] == 1000
    assert rows(settings, "SELECT sum(events) FROM live_usage")[0][0] == 1000
    assert rows(settings, "SELECT count() FROM duplicate_events FINAL")[0][0] == 50
    quantities = [Decimal(e["quantity"]) for e in events[:1000] if e["meter"] == "api_requests"]
    with localcontext(prec=60):
        expected = sum(quantities)
    assert rows(settings, "SELECT sum(quantity) FROM live_usage WHERE meter = 'api_requests'")[0][
        0
    ] == expected  # fmt: skip


def test_a_repeat_decides_by_the_first_registration_not_by_its_own_time(
    settings: Settings, tmp_path: Path
) -> None:
    path = _ndjson(tmp_path / "events.ndjson", _events(20))
    stream = answer(settings, "backfill", str(path))[0]["stream"]
    first = rows(settings, "SELECT DISTINCT record_time FROM usage_events")
    plant(settings, "TRUNCATE TABLE usage_events")
    plant(settings, "TRUNCATE TABLE usage_totals")
    answer(settings, "backfill", str(path), "--from-start")
    assert rows(settings, "SELECT DISTINCT record_time FROM usage_events") == first
    assert rows(settings, "SELECT kind, stream FROM streams FINAL") == [("backfill", stream)]


def test_bad_rows_become_rejections_with_their_bytes(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "bad.ndjson"
    lines = [json.dumps(event(0)).encode(), b"", b"{broken", b"\xff\xfe", b'{"id": 7}', b"[]"]
    path.write_bytes(b"\n".join(lines) + b"\n\n")
    done = answer(settings, "backfill", str(path))[0]
    assert (done["accepted"], done["rejected"]) == (1, 4)
    kept = rows(settings, "SELECT offset, hex(event) FROM rejected_events FINAL ORDER BY offset")
    assert [(offset, bytes.fromhex(value)) for offset, value in kept] == [
        (2, b"{broken"), (3, b"\xff\xfe"), (4, b'{"id": 7}'), (5, b"[]"),
    ]  # fmt: skip
    assert answer(settings, "verify")["holds"]


def test_bad_csv_records_become_rejections_and_the_rest_counts(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    at = event(0)["occurred_at"]
    path.write_bytes(
        b"\xef\xbb\xbfid,customer_id,meter,quantity,occurred_at,dimensions\r\n"
        + f'a,c,api_requests,1.5,{at},"{{""region"":""eu""}}"\r\n'.encode()
        + b"too,few\r\n"
        + b"\r\n"
        + f"b,c\xff,api_requests,1,{at},\r\n".encode("latin-1")
        + f"c,c,api_requests,1,{at},no json\r\n".encode()
        + f'd,"line\nbreak",api_requests,1,{at},\r\n'.encode()
        + f"e,c,workflow_runs,2,{at},\r\n".encode()
    )
    done = answer(settings, "backfill", str(path))[0]
    assert (done["accepted"], done["rejected"]) == (2, 4)
    kept = rows(settings, "SELECT toString(code), hex(event) FROM rejected_events FINAL "
                          "ORDER BY offset")  # fmt: skip
    assert [code for code, _ in kept] == [
        "message_must_be_valid_json", "message_must_be_valid_json", "dimensions_must_be_text_pairs",
        "customer_must_be_text_of_1_to_256_characters",
    ]  # fmt: skip
    assert bytes.fromhex(kept[0][1]) == b"too,few"
    assert b"c\xff" in bytes.fromhex(kept[1][1])
    assert answer(settings, "verify")["holds"]


@pytest.mark.parametrize(
    ("name", "write", "told"),
    [
        ("a.txt", lambda p: p.write_text("{}"), "ends in .ndjson"),
        ("a.csv", lambda p: p.write_text("id,amount\n1,2\n"), "got 'amount'"),
        ("a.csv", lambda p: p.write_text(""), "expected a header"),
        ("a.csv", lambda p: p.write_text("id,dimensions,dimensions.a\n"), "got both"),
        ("a.parquet", lambda p: p.write_text("no"), "expected a Parquet file"),
        (
            "a.parquet",
            lambda p: pq.write_table(pa.table({"id": ["1"], "quantity": [0.1]}), p),
            "column quantity: expected decimal, integer or text",
        ),
        (
            "a.parquet",
            lambda p: pq.write_table(
                pa.table({"id": ["1"], "occurred_at": pa.array([datetime.now(UTC)],
                                                               pa.timestamp("us"))}), p
            ),
            "a timestamp with a time zone",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_as_a_whole_is_refused_before_anything_counts(
    settings: Settings, tmp_path: Path, name: str, write: Callable[[Path], Any], told: str
) -> None:
    write(tmp_path / name)
    good = _ndjson(tmp_path / "good.ndjson", _events(5))
    done = meterline(settings, "backfill", str(good), str(tmp_path / name))
    assert done.returncode == 2
    assert told in done.stderr
    assert rows(settings, "SELECT count() FROM usage_events")[0][0] == 0


def test_a_stream_name_belongs_to_one_content(settings: Settings, tmp_path: Path) -> None:
    path = _ndjson(tmp_path / "events.ndjson", _events(5))
    assert answer(settings, "backfill", str(path), "--stream", "october")[0]["stream"] == (
        "backfill:october"
    )
    _ndjson(path, _events(6))
    refused = meterline(settings, "backfill", str(path), "--stream", "october")
    assert refused.returncode == 2
    assert "choose another name" in refused.stderr


def test_several_files_are_several_streams_and_the_same_event_counts_once(
    settings: Settings, tmp_path: Path
) -> None:
    one = _ndjson(tmp_path / "one.ndjson", _events(50))
    two = _csv(tmp_path / "two.csv", _events(80))
    first, second = answer(settings, "backfill", str(one), str(two))
    assert (first["accepted"], first["duplicates"]) == (50, 0)
    assert (second["accepted"], second["duplicates"]) == (30, 50)
    assert meterline(settings, "verify").returncode == 0


def test_a_backfill_does_not_hold_the_live_watermark_back(
    settings: Settings, tmp_path: Path
) -> None:
    produce(settings, [event(n) for n in range(10)])
    count(settings)
    before = rows(settings, "SELECT complete_to FROM complete_to")
    path = _ndjson(tmp_path / "old.ndjson", [event(100, occurred_at="2026-01-02T03:04:05Z")])
    answer(settings, "backfill", str(path))
    assert rows(settings, "SELECT complete_to FROM complete_to") == before
    assert rows(settings, "SELECT late FROM usage_events WHERE id = 'event-100'") == [(True,)]
