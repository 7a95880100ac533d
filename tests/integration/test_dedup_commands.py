"""`meterline dedup`: what the memory holds is told, and a rebuilt one knows the same events."""

from __future__ import annotations

import pytest
from counting import answer, count, event, meterline, produce, rows, totals

from metering.settings import Settings
from sinks.dedup_connection import connect_redis


@pytest.fixture
def counted(either: Settings) -> Settings:
    """A deployment that counted 500 events."""
    produce(either, [event(n) for n in range(500)])
    count(either)
    return either


def test_status_tells_marker_entries_cost_and_assignments(counted: Settings) -> None:
    found = answer(counted, "dedup", "status")
    assert found["in_force"]
    assert found["adoptions"][0]["reason"] == "first use"
    assert (found["shards_ready"], found["listpack_limit"]) == (found["shards"], 512)
    assert [each["entries"] for each in found["generations"]] == [500]
    sample = found["sample"]
    if found["form"] == "tables":
        assert sample["entries"] == 500, "all of them are known, not some"
        assert sample["bytes_per_entry"] > 20, "fields and values alone"
    else:
        assert found["form"] == "hashes"
        assert sample["buckets"] == sample["listpacks"]
    assert any(place.endswith("/0") for place in found["assignments"])
    told = meterline(counted, "dedup", "status")
    assert told.returncode == 0
    assert "in force" in told.stdout


def test_status_ends_with_1_while_no_memory_is_in_force(counted: Settings) -> None:
    server = connect_redis(counted.redis_url.get_secret_value())
    for key in server.keys(f"{counted.redis_prefix}:*"):
        server.delete(key)
    done = meterline(counted, "dedup", "status")
    assert done.returncode == 1
    assert "NOT in force" in done.stdout


def test_a_rebuilt_memory_knows_every_event_of_raw_history(counted: Settings) -> None:
    before = totals(counted)
    done = meterline(counted, "dedup", "rebuild", "--yes")
    assert done.returncode == 0, done.stderr
    assert "rebuilt: 500 identities" in done.stdout
    found = answer(counted, "dedup", "status")
    assert found["adoptions"][0]["reason"] == "asked by an operator"
    assert sum(each["entries"] for each in found["generations"]) == 500
    produce(counted, [event(n) for n in range(500)])
    count(counted)
    assert rows(counted, "SELECT count() FROM duplicate_events FINAL")[0][0] == 500
    assert totals(counted) == before


def test_rebuild_asks_first(counted: Settings) -> None:
    before = rows(counted, "SELECT count() FROM dedup_memories")
    assert meterline(counted, "dedup", "rebuild", stdin="n\n").returncode == 1
    assert rows(counted, "SELECT count() FROM dedup_memories") == before


def test_rebuild_is_refused_while_another_one_runs(counted: Settings) -> None:
    server = connect_redis(counted.redis_url.get_secret_value())
    server.set(f"{counted.redis_prefix}:rebuilding", "another", px=30_000)
    assert answer(counted, "dedup", "status")["is_rebuilding"]
    done = meterline(counted, "dedup", "rebuild", "--yes")
    assert done.returncode == 75
    assert "another worker is rebuilding" in done.stderr
