"""A rebuild over many generations of the dedup memory, held against an oracle of its own.

The archive is written by hand, with the record times of half a day, and the memory's window is one
hour. So most copies come when the memory has forgotten their original.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from counting import answer, rows

from dataflows.rebuild import Rebuild
from metering.settings import Settings
from rating_engine.price_book.load import load_price_book
from sinks.archive_entry import ArchivedLog
from sinks.archive_format import Records
from sinks.archive_reader import ArchiveReader
from sinks.archive_store import FolderStore
from sinks.archive_writer import LogWriter
from sinks.dedup_adopt import layout_of
from sinks.dedup_connection import connect_redis
from sinks.dedup_load import entries_key

_STREAM = "usage.events:abc"
_PARTITIONS = 3
_WINDOW = timedelta(hours=1)
_BEGAN = datetime(2026, 6, 10, tzinfo=UTC)
_METERS = ("api_requests", "documents_processed", "active_users")
Event = dict[str, Any]
_EVENT: Event = {
    "id": "event-1", "customer_id": "customer-1", "meter": "api_requests", "quantity": 3,
    "occurred_at": _BEGAN.isoformat(), "dimensions": {"region": "eu", "user_id": "user-1"},
}  # fmt: skip


class _DeathError(Exception):
    """Stands for `kill -9`: nothing after it happens."""


@dataclass
class History:
    """What arrived: (record time, partition, offset, event) each, in any order."""

    arrived: list[tuple[datetime, int, int, Event]] = field(default_factory=list)
    ends: Counter[int] = field(default_factory=Counter)

    def add(self, at: datetime, partition: int, event: Event) -> None:
        """One message more at the end of a partition."""
        self.arrived.append((at, partition, self.ends[partition], event))
        self.ends[partition] += 1

    def archive(self, folder: Path, random: Random) -> FolderStore:
        """Everything in files of random sizes."""
        store = FolderStore(folder)
        for partition in range(_PARTITIONS):
            mine = [each for each in self.arrived if each[1] == partition]
            log = ArchivedLog(_STREAM, partition, "events", "usage.events", "abc")
            writer, at = LogWriter(store, log), 0
            while at < len(mine):
                piece = mine[at : at + random.randrange(1, 200)]
                at += len(piece)
                offsets = [offset for _, _, offset, _ in piece]
                none = [None] * len(piece)
                values: list[bytes | None] = [json.dumps(event).encode() for *_, event in piece]
                times = [int(time.timestamp() * 1000) for time, *_ in piece]
                writer.write(
                    Records(offsets, times, list(none), values, list(none)),
                    first_offset=offsets[0], next_offset=offsets[-1] + 1,
                )  # fmt: skip
        return store


@dataclass
class Expected:
    """What has to come of a history, by a reckoning that shares nothing with the pipeline."""

    outcomes: Counter[str] = field(default_factory=Counter)
    quantities: Counter[tuple[str, str, datetime]] = field(default_factory=Counter)
    events: Counter[tuple[str, str, datetime]] = field(default_factory=Counter)

    @classmethod
    def of(cls, history: History) -> Expected:
        """The first by record time, partition and offset counts."""
        found = cls()
        first: dict[tuple[str, str, str], Event] = {}
        users: set[tuple[str, str]] = set()
        for *_, event in sorted(history.arrived, key=lambda each: each[:3]):
            name = (event["customer_id"], event["meter"], event["id"])
            if name in first:
                same = first[name]["quantity"] == event["quantity"]
                found.outcomes["duplicates" if same else "conflicts"] += 1
                continue
            first[name] = event
            found.outcomes["accepted"] += 1
            hour = datetime.fromisoformat(event["occurred_at"])
            hour = hour.replace(minute=0, second=0, microsecond=0)
            key = (event["customer_id"], event["meter"], hour)
            user = (event["customer_id"], event["dimensions"]["user_id"])
            found.events[key] += 1
            if event["meter"] == "api_requests":
                found.quantities[key] += event["quantity"]
            elif event["meter"] == "documents_processed":
                found.quantities[key] += 1
            else:
                found.quantities[key] += user not in users
                users.add(user)
        return found


def _history(random: Random) -> History:
    """Events and copies on any partition: exact, restamped, or with another payload."""
    history, now = History(), _BEGAN
    originals: list[tuple[datetime, Event]] = []
    for number in range(2400):
        now += timedelta(milliseconds=random.choice((0, 1, 5_000, 20_000, 60_000)))
        if random.random() < 0.6 or not originals:
            customer = random.randrange(9)
            ago = timedelta(minutes=random.choice((0, 1, 30, 600)))
            event: Event = {
                "id": f"event-{number}",
                "customer_id": f"customer-{customer}",
                "meter": random.choice(_METERS),
                "quantity": random.randrange(1, 9),
                "occurred_at": (now - ago).isoformat(),
                "dimensions": {"region": "eu", "user_id": f"user-{random.randrange(40)}"},
            }
            originals.append((now, event))
            history.add(now, customer % _PARTITIONS, event)
            continue
        arrived, event = random.choice(originals[-random.choice((20, 2400)) :])
        home = int(event["customer_id"][-1]) % _PARTITIONS
        if event["meter"] != "active_users":
            # Who was counted for a value is told in the order of one partition only.
            home = random.randrange(_PARTITIONS)
        kind = random.choice(("exact", "restamped", "conflict"))
        if kind == "restamped":
            # Within the window, or so old that it is looked up: see the known limits.
            ago = timedelta(minutes=3) if now - arrived < _WINDOW else 2 * _WINDOW
            event = {**event, "occurred_at": (now - ago).isoformat()}
        elif kind == "conflict":
            event = {**event, "quantity": event["quantity"] + 1}
        history.add(now, home, event)
    return history


@pytest.fixture
def short(settings: Settings) -> Settings:
    """A memory that forgets after an hour, and flushes that are many in each."""
    changes = {"dedup_window": _WINDOW, "batch_events_max": 60, "flush_rows_max": 150}
    return settings.model_copy(update=changes)


def _rebuild(
    settings: Settings, store: FolderStore, before: Callable[[int], None] | None = None
) -> Counter[str]:
    book = load_price_book(settings.catalog)
    rebuild = Rebuild(settings, book, ArchiveReader(store), before_step=before)
    rebuild.run()
    return Counter(
        {name: getattr(rebuild.counts, name) for name in ("accepted", "duplicates", "conflicts")}
    )


def _assert_as_expected(settings: Settings, expected: Expected) -> None:
    found = rows(settings, "SELECT customer_id, meter, window_start, sum(quantity), sum(events) "
                           "FROM live_usage GROUP BY ALL HAVING sum(events) > 0")  # fmt: skip
    keys = [(customer, meter, hour.replace(tzinfo=UTC)) for customer, meter, hour, _, _ in found]
    assert dict(zip(keys, [row[4] for row in found], strict=True)) == expected.events
    quantities = dict(zip(keys, [int(row[3]) for row in found], strict=True))
    assert quantities == {key: expected.quantities[key] for key in expected.events}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_copy_is_found_however_many_generations_later(
    short: Settings, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    history = _history(random)
    expected = Expected.of(history)
    assert history.arrived[-1][0] - _BEGAN > 8 * _WINDOW
    assert _rebuild(short, history.archive(tmp_path, random)) == expected.outcomes
    _assert_as_expected(short, expected)
    assert answer(short, "verify")["holds"]
    redis = connect_redis(short.redis_url.get_secret_value())
    counted: Any = redis.hkeys(entries_key(layout_of(short).state_key(0)))
    redis.close()
    assert len(counted) == 2, "old ones are freed"


def test_a_partition_that_is_mostly_quiet_is_rebuilt_beside_a_busy_one(
    short: Settings, tmp_path: Path
) -> None:
    """What is read at once of both spans hours: nothing that it claims may be forgotten."""
    history = History()
    for minute in range(0, 600, 10):
        at = _BEGAN + timedelta(minutes=minute)
        event = {**_EVENT, "id": f"event-{minute}", "occurred_at": at.isoformat()}
        history.add(at, 0 if minute == 0 else 1, event)
    expected = Expected.of(history)
    assert _rebuild(short, history.archive(tmp_path, Random(1))) == expected.outcomes
    _assert_as_expected(short, expected)


def test_a_rebuild_that_dies_again_and_again_loses_and_doubles_nothing(
    short: Settings, tmp_path: Path
) -> None:
    """Before random steps of random flushes; every other time what Redis held is lost as well."""
    random = Random(3)
    history = _history(random)
    store = history.archive(tmp_path, random)
    redis = connect_redis(short.redis_url.get_secret_value())
    deaths = 0
    while True:
        left = {"steps": random.randrange(2, 25)}

        def before(_step: int, left: dict[str, int] = left) -> None:
            left["steps"] -= 1
            if left["steps"] <= 0:
                raise _DeathError

        try:
            _rebuild(short, store, before)
        except _DeathError:
            deaths += 1
        else:
            break
        if deaths % 2:
            for key in redis.scan_iter(f"{short.redis_prefix}*"):
                redis.delete(key)
    redis.close()
    assert deaths > 4
    _assert_as_expected(short, Expected.of(history))
    assert answer(short, "verify")["holds"]


def test_a_restamped_copy_after_the_window_counts_as_it_does_live_and_is_repaired(
    short: Settings, tmp_path: Path
) -> None:
    later = _BEGAN + 5 * _WINDOW
    history = History()
    history.add(_BEGAN, 0, _EVENT)
    history.add(later, 0, {**_EVENT, "occurred_at": later.isoformat()})
    _rebuild(short, history.archive(tmp_path, Random(1)))
    assert rows(short, "SELECT sum(quantity) FROM live_usage") == [(6,)]
    assert rows(short, "SELECT sum(quantity) FROM usage_events FINAL") == [(3,)]
    found = answer(short, "verify", "--repair")
    assert found["before_repair"]["balances"][0]["superseded"] == 1
    assert rows(short, "SELECT sum(quantity) FROM live_usage") == [(3,)]
