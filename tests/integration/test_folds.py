"""What is read of a partition at once says of every unit and window what asking for it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from dataflows.totals_ahead import TotalsAhead
from metering.batch import Source
from metering.settings import Settings
from metering.totals import PlacedKey, StoredUnit, UnitKey, WindowKey
from sinks.clickhouse import connect_clickhouse
from sinks.totals_store import ClickHouseTotals

SEED = 20260305
STREAM = "usage.events:abc"
HOUR = 3600
MARCH = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
APRIL = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp())
#: Where parts began when rows were written: one inside an hour.
BORDERS = (MARCH, MARCH + 3 * HOUR, MARCH + 7 * HOUR + HOUR // 2, MARCH + 12 * HOUR, APRIL)
#: And now: one was moved into an hour, one was moved away.
MOVED = (MARCH, MARCH + 3 * HOUR + 600, MARCH + 7 * HOUR + HOUR // 2, MARCH + 13 * HOUR, APRIL)
CUSTOMERS = ["it's", 'a "b"', "c\\", "d", "e", "\N{SNOWMAN}"]
METERS = {"m_sum": "sum", "m_max": "max", "m_latest": "latest"}
GROUPS = ["{}", '{"region":"eu"}']
_COLUMNS = (
    "customer_id", "meter", "group", "window_start", "stream", "partition", "aggregation",
    "quantity", "included", "overage", "charge", "part_start", "events", "late_events",
    "first_occurred_at", "last_occurred_at", "last_identity", "absorbed_offset",
)  # fmt: skip


class Counting(ClickHouseTotals):
    """Remembers which units it was asked for one by one."""

    asked: list[UnitKey]

    def units(self, stream: str, partition: int, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        self.asked = getattr(self, "asked", []) + keys
        return super().units(stream, partition, keys)


@pytest.fixture
def store(settings: Settings) -> Iterator[Counting]:
    client = connect_clickhouse(settings)
    rng = Random(SEED)
    for version in range(3):  # some windows are stored three times, and nothing was merged
        rows = [_row(rng, version) for _ in range(1500)]
        client.insert("usage_totals", rows, column_names=_COLUMNS)
    yield Counting(client, client)
    client.close()


def _row(rng: Random, version: int) -> list[Any]:
    start, end = rng.choice(list(pairwise(BORDERS)))
    moment = rng.randrange(start, min(end, start + 20 * HOUR))
    window = max(start, moment - moment % HOUR)
    meter = rng.choice(list(METERS))
    events = rng.choice([0, 1, 7, 7, 7])
    size = rng.choice([1, 10**9, 10**30])
    numbers = [Decimal(rng.randint(-size, size) if events else 0) / 8 for _ in range(4)]
    times = sorted(_moment(window + rng.randrange(HOUR)) for _ in range(2))
    return [
        rng.choice(CUSTOMERS), meter, rng.choice(GROUPS), _moment(window),
        rng.choice([STREAM, STREAM, STREAM, "other"]), rng.randrange(3), METERS[meter], *numbers,
        _moment(start), events, events // 2, *times, rng.randbytes(16),
        1000 * version + rng.randrange(1000),
    ]  # fmt: skip


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _keys(borders: tuple[int, ...]) -> list[UnitKey]:
    return [
        UnitKey(customer, meter, group, start, end)
        for customer in [*CUSTOMERS, "none"]
        for meter in METERS
        for group in GROUPS
        for start, end in pairwise(borders)
    ]


@pytest.mark.parametrize("partition", range(4))
def test_units_and_windows_are_those_that_are_asked_for_one_by_one(
    store: Counting, partition: int
) -> None:
    source, stored = Source(STREAM, partition, 1), store.partition(STREAM, partition)
    told = []
    for borders in (BORDERS, MOVED):
        keys = _keys(borders)
        expected = ClickHouseTotals.units(store, STREAM, partition, keys)
        ahead = TotalsAhead(source, stored, store, keys_min=1)
        ahead.room, store.asked = 10_000, []
        assert ahead.units(keys) == expected
        wanted = [
            (key, max(key.start, MARCH + hour * HOUR))
            for key in keys
            for hour in range(40)
            if key.start < MARCH + (hour + 1) * HOUR <= key.end + HOUR
        ]
        windows = ahead.windows(wanted)
        recent = {
            PlacedKey(partition, WindowKey(*key[:3], window))
            for key, window in wanted
            if window >= stored.newest_window - 7 * HOUR and key not in store.asked
        }
        every = store.windows(STREAM, sorted(recent)) if recent else {}
        empty = {place for place, window in every.items() if not window.events}
        assert windows == {place: every.get(place) for place in recent - empty}
        told.append((len(expected), len(every), len(store.asked)))
    if partition < 3:
        assert min(expected for expected, _, _ in told) > 100
        assert min(windows for _, windows, _ in told) > 3
        assert told[0][2] == 0, "all follows while the borders are where they were"
        assert 20 < told[1][2] < 100
    else:
        assert told == [(0, 0, 0)] * 2


def test_no_more_is_read_than_there_is_room_for(store: Counting) -> None:
    bounds = {"since": MARCH, "recent": MARCH + 30 * HOUR}
    found = store.folds(STREAM, 0, rows_max=100_000, **bounds)
    assert found is not None
    assert found.num_rows > len(CUSTOMERS)
    again = store.folds(STREAM, 0, rows_max=found.num_rows, **bounds)
    assert again is not None
    assert again.num_rows == found.num_rows
    for rows_max in (0, len(CUSTOMERS) - 1, len(CUSTOMERS), found.num_rows - 1):
        assert store.folds(STREAM, 0, rows_max=rows_max, **bounds) is None
