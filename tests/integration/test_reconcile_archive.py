"""`meterline reconcile` where raw history is wrong: against the archive, and the calendar."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from billed_world import JUNE, STREAM, Price, World
from counting import meterline, plant, rows
from test_reconcile import plain, reconcile, told

from metering.settings import Settings
from sinks.archive_entry import ArchivedLog
from sinks.archive_format import Records
from sinks.archive_store import open_store
from sinks.archive_writer import LogWriter

PRICE = Price(Decimal("0.0123"), Decimal(100))
METERS = """meters:
- {key: api_requests, unit: request, aggregation: sum}
- {key: storage_gb, unit: GB, aggregation: sum}
"""
PLANS = """plans:
- key: growth
  currency: USD
  versions:
  - version: 1
    effective_from: 2025-01-01T00:00:00Z
    charges:
    - {meter: api_requests, allowance: "100", price: {model: per_unit, unit_price: "0.0123"}}
    - {meter: storage_gb, allowance: "100", price: {model: per_unit, unit_price: "0.0123"}}
"""
CUSTOMERS = 8


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    """A deployment whose customers all have one plan from 2025 on."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "meters.yaml").write_text(METERS)
    (folder / "plans.yaml").write_text(PLANS)
    lines = [f"s-{at},org_{at},growth,2025-01-01T00:00:00Z" for at in range(CUSTOMERS)]
    (folder / "subscriptions.csv").write_text("\n".join(["id,customer_id,plan,from", *lines, ""]))
    return settings.model_copy(update={"catalog": folder})


def world_of() -> World:
    world = World({1: PRICE})
    for number in range(CUSTOMERS):
        for meter in ("api_requests", "storage_gb"):
            world.billed(f"org_{number}", meter, f"{1000 * (number + 1)}.25")
    return world


def archive(world: World, folder: Path, *, until: int | None = None) -> None:
    """The events as a sender would have sent them; every second one is sent twice."""
    records = Records()
    for row in world.events[:until]:
        value = {
            "id": row["id"], "customer_id": row["customer_id"], "meter": row["meter"],
            "quantity": str(row["quantity"]), "occurred_at": row["occurred_at"].isoformat(),
        }  # fmt: skip
        records.offsets.append(row["offset"])
        records.times_ms.append(int(row["record_time"].timestamp() * 1000))
        records.keys.append(None)
        records.values.append(json.dumps(value).encode())
        records.headers.append(None)
    last = records.offsets[-1]
    copies = records.values[::2]
    records.extend(Records(
        [last + 1 + at for at in range(len(copies))], [records.times_ms[-1] + 1] * len(copies),
        [None] * len(copies), list(copies), [None] * len(copies),
    ))  # fmt: skip
    log = ArchivedLog(STREAM, 0, "events", "usage.events", "AA")
    writer = LogWriter(open_store(str(folder)), log)
    writer.write(records, first_offset=1, next_offset=records.offsets[-1] + 1)


def test_the_archive_shows_what_was_changed_everywhere_in_clickhouse(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of()
    monkeypatch.setenv("METERLINE_ARCHIVE", str(tmp_path / "archive"))
    archive(world, tmp_path / "archive")
    lowered = world.lines[4]  # raw history, totals and the line agree about less than was sent
    who = lowered["customer_id"], lowered["meter"], JUNE
    world.events[4]["quantity"] = world.totals[who] = lowered["quantity"] = Decimal(700)
    lowered["amount"] = PRICE.amount(Decimal(700))
    lost = world.events.pop(7)  # and about none at all
    del world.totals[lost["customer_id"], lost["meter"], JUNE]
    world.lines.pop(7)
    world.insert(own)
    assert reconcile(own, exit_code=0)["findings"] == []
    document = reconcile(own, "--archive")
    less = PRICE.amount(Decimal(700)) - PRICE.amount(Decimal("3000.25"))
    gone = -PRICE.amount(Decimal("4000.25"))
    assert sorted(told(document)) == sorted([
        ("lines", "missing_in_invoice", "org_3", "storage_gb", plain(gone)),
        ("lines", "wrong_quantity", "org_2", "api_requests", plain(less)),
        ("totals", "missing_in_invoice", "org_3", "storage_gb", plain(gone)),
        ("totals", "wrong_quantity", "org_2", "api_requests", plain(less)),
    ])  # fmt: skip
    assert "24 events" in "".join(document["notes"]), "16 and 8 copies"
    left = rows(own, "SELECT name FROM system.tables WHERE name LIKE 'reconcile_scratch%' "
                "AND database = currentDatabase()")  # fmt: skip
    assert left == []


def test_what_is_not_archived_yet_is_taken_from_clickhouse_and_told(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of()
    monkeypatch.setenv("METERLINE_ARCHIVE", str(tmp_path / "archive"))
    archived_to = 1 + 12 + 6  # after the events and the copies
    for at, row in enumerate(world.events[12:]):  # of its partition and of one without an archive
        row.update({"offset": archived_to + at} if at % 2 else {"offset": at, "partition": 1})
    world.events[12]["offset"] = 0
    world.events[13]["offset"] = archived_to
    world.cuts["close-1"][STREAM, 1] = 100
    archive(world, tmp_path / "archive", until=12)
    world.insert(own)
    document = reconcile(own, "--archive", exit_code=0)
    assert "4 it does not hold yet" in "".join(document["notes"])
    monkeypatch.setenv("METERLINE_ARCHIVE", str(tmp_path / "nothing"))
    (tmp_path / "nothing").mkdir()
    done = meterline(own, "reconcile", "--period", "2026-06", "--archive")
    assert done.returncode == 2
    assert "expected archived events, got none" in done.stderr


def test_what_counts_in_another_month_than_it_occurred_in_is_told(own: Settings) -> None:
    world = world_of()
    strayed = world.event("org_1", "api_requests", "500")  # of May, and billed in June
    strayed["occurred_at"] = JUNE - timedelta(hours=1)
    line = next(each for each in world.lines if each["line_id"] == "il-org_1-api_requests")
    quantity = line["quantity"] + 500
    off = PRICE.amount(quantity) - PRICE.amount(line["quantity"])
    line.update(quantity=quantity, amount=PRICE.amount(quantity))
    world.insert(own)
    assert told(reconcile(own)) == [
        ("lines", "wrong_quantity", "org_1", "api_requests", plain(off)),
    ]
    plant(own, "ALTER TABLE usage_events UPDATE period_start = '2020-01-01 00:00:00' WHERE "
          "customer_id = 'org_5' AND meter = 'storage_gb' SETTINGS mutations_sync = 2")  # fmt: skip
    found = {each[:4] for each in told(reconcile(own))}
    assert ("lines", "wrong_quantity", "org_5", "storage_gb") in found


def test_what_was_refused_when_it_came_is_not_taken_from_the_archive(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded by the catalog of now it would be accepted; accepted later where it stands, it is."""
    world = world_of()
    monkeypatch.setenv("METERLINE_ARCHIVE", str(tmp_path / "archive"))
    archive(world, tmp_path / "archive")
    refused = world.events.pop(7)  # which was sent once
    customer, meter = refused["customer_id"], refused["meter"]
    del world.totals[customer, meter, JUNE]
    world.lines.pop(7)
    world.insert(own)
    mended = world.events[2]
    plant(own, "INSERT INTO rejected_events (stream, partition, offset, `index`, code, record_time)"
          " VALUES " + ", ".join(
              f"('{STREAM}', 0, {each['offset']}, 0, 'meter_must_be_known', '2026-06-02 00:00:00')"
              for each in (refused, mended)
          ))  # fmt: skip
    assert reconcile(own, "--archive", exit_code=0)["findings"] == []


def test_an_archive_that_was_changed_ends_the_run(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of()
    monkeypatch.setenv("METERLINE_ARCHIVE", str(tmp_path / "archive"))
    archive(world, tmp_path / "archive")
    world.insert(own)
    (file,) = (tmp_path / "archive").rglob("*.parquet")
    other = [*world.events]
    other[3] = {**other[3], "quantity": Decimal(1)}  # a file in good order, of other events
    archive(World(world.prices, events=other), tmp_path / "other")
    (forged,) = (tmp_path / "other").rglob("*.parquet")
    file.write_bytes(forged.read_bytes())
    done = meterline(own, "reconcile", "--period", "2026-06", "--archive")
    assert done.returncode == 2
    assert "the file was changed" in done.stderr
    assert rows(own, "SELECT count() FROM reconciliation_runs") == [(0,)]
    left = rows(own, "SELECT name FROM system.tables WHERE name LIKE 'reconcile_scratch%' "
                "AND database = currentDatabase()")  # fmt: skip
    assert left == []
