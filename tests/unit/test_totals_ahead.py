"""What is read ahead answers as the store would, seldom asks it, and is dropped when it must be."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from catalogs import microseconds
from folding import Row, folds_of
from test_rated_stream import Store

from dataflows import stored_folds
from dataflows.stored_folds import FoldTable
from dataflows.totals_ahead import AheadLimits, TotalsAhead
from metering.batch import Source
from metering.errors import DependencyDown
from metering.totals import (
    FOLDS,
    PlacedKey,
    StoredPartition,
    StoredUnit,
    StoredWindow,
    UnitKey,
    WindowKey,
)

SOURCE = Source("s", 0, 1)
HOUR = 3600
DAY = 24 * HOUR
MARCH = microseconds("2026-03-01") // 1_000_000
APRIL = microseconds("2026-04-01") // 1_000_000
NOON = MARCH + 20 * DAY + 12 * HOUR
Texts = tuple[str, str, str]


class Counting(Store):
    """Counts what it is asked; rows are put in by `put`."""

    def __init__(self) -> None:
        super().__init__()
        self.unit_queries: list[list[UnitKey]] = []
        self.fold_queries: list[tuple[int, int]] = []
        self.window_queries = 0

    def put(self, texts: Texts, window: int, *, part: int = MARCH, row: StoredWindow) -> None:
        self.rows[*texts, window] = row, row.absorbed_offset
        self.cards[*texts, window] = (part, part, 0)

    def units(
        self, _stream: str, _partition: int, keys: list[UnitKey]
    ) -> dict[UnitKey, StoredUnit]:
        self.unit_queries.append(keys)
        return self.plain(keys)

    def plain(self, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        """Units, not counted."""
        return super().units("s", 0, keys)

    def folds(
        self, stream: str, partition: int, *, since: int, recent: int, rows_max: int
    ) -> pa.Table | None:
        self.fold_queries.append((since, rows_max))
        return super().folds(stream, partition, since=since, recent=recent, rows_max=rows_max)

    def windows(self, stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        self.window_queries += 1
        return super().windows(stream, keys)


def row_of(units: int, absorbed: int, *, at: int = NOON) -> StoredWindow:
    moment = at * 1_000_000
    return StoredWindow(units, 2, 1, moment, moment + 5, bytes([units % 251]) * 16, absorbed)


def filled(customers: int = 300) -> Counting:
    """Three meters of each customer, with usage in four hours until noon, and in two before."""
    store = Counting()
    for number in range(customers):
        for place, meter in enumerate(("m_sum", "m_max", "m_latest")):
            for hour in (0, 1, 2, 3, 15, 17):
                window = NOON - hour * HOUR
                row = row_of(number + place + hour, 1000 + number + hour, at=window)
                store.put((f"c{number}", meter, "{}"), window, row=row)
    return store


def key_of(number: int, meter: str = "m_sum", *, start: int = MARCH, end: int = APRIL) -> UnitKey:
    return UnitKey(f"c{number}", meter, "{}", start, end)


def ahead_of(store: Counting, *, keys_min: int = 1, room: int = 10_000) -> TotalsAhead:
    ahead = TotalsAhead(SOURCE, store.partition("s", 0), store, keys_min=keys_min)
    ahead.room = room
    return ahead


class TooBusy(Counting):
    """Answers small questions only."""

    def folds(
        self, stream: str, partition: int, *, since: int, recent: int, rows_max: int
    ) -> pa.Table | None:
        super().folds(stream, partition, since=since, recent=recent, rows_max=rows_max)
        raise DependencyDown("it took too long")


def test_where_reading_ahead_fails_all_is_asked_as_if_there_were_none() -> None:
    store = TooBusy()
    store.rows, store.cards = filled(40).rows, filled(40).cards
    ahead = ahead_of(store)
    for first in (0, 20):
        keys = [key_of(number) for number in range(first, first + 20)]
        assert ahead.units(keys) == store.plain(keys)
    assert len(store.unit_queries) == 2
    assert len(store.fold_queries) == 1, "not again in this assignment"
    assert ahead.windows([(key_of(1), NOON)]) == {}


def test_many_batches_after_a_cold_start_are_few_queries() -> None:
    store = filled()
    ahead = ahead_of(store, keys_min=256)
    keys = [key_of(n, meter) for n in range(400) for meter in ("m_sum", "m_max", "m_latest")]
    Random(1).shuffle(keys)
    found: dict[UnitKey, StoredUnit] = {}
    for first in range(0, len(keys), 40):
        found |= ahead.units(keys[first : first + 40])
    assert found == store.plain(keys)
    assert len(found) == 900, "of 1200; a hundred customers are new"
    assert len(store.unit_queries) == 6
    assert len(store.fold_queries) == 1
    assert ahead.rows == 900 * 5, "four hours, and what was before them"


@pytest.mark.parametrize("seed", range(60))
def test_answers_are_those_of_the_store_whatever_the_parts(seed: int) -> None:
    """Parts that begin inside hours, and borders that were moved since rows were written."""
    rng, store = Random(seed), Counting()
    texts = [(f"c{n}", meter, group) for n in range(3) for meter in "ab" for group in ("", "g")]
    step = rng.choice([HOUR // 2, HOUR])
    borders = sorted({MARCH, *(MARCH + rng.randrange(60) * step for _ in range(4)), APRIL})
    for _ in range(rng.randint(1, 150)):
        part = rng.choice(borders[:-1])
        window = part + rng.choice([0, rng.randrange(20 * HOUR)])
        window = max(part, window - window % HOUR)
        row = row_of(rng.randint(-5, 300), rng.randrange(100), at=window + rng.randrange(HOUR))
        if rng.random() < 0.1:
            row = replace(row, units=0, events=0)
        store.put(rng.choice(texts), window, part=part, row=row)
    if rng.random() < 0.5:
        borders = sorted({MARCH, *(MARCH + rng.randrange(60) * step for _ in range(4)), APRIL})
    keys = [UnitKey(*each, start, end) for each in texts for start, end in pairwise(borders)]
    ahead = ahead_of(store, keys_min=rng.choice([1, 10]))
    told: dict[PlacedKey, StoredWindow | None] = {}
    for _ in range(8):
        some = rng.sample(keys, rng.randint(1, len(keys)))
        assert ahead.units(some) == store.plain(some)
        asked = [(key, key.start + rng.randrange(25) * HOUR) for key in some]
        told |= ahead.windows([(key, window - window % HOUR) for key, window in asked])
    stored = store.windows("s", list(told))
    assert told == {place: stored.get(place) for place in told}


def windows_told(ahead: TotalsAhead, hours: range) -> set[int]:
    """Hours of a unit of which something is known; each is right."""
    told = ahead.windows([(key_of(7), NOON - hour * HOUR) for hour in hours])
    stored = ahead._store.windows("s", list(told))
    assert told == {place: stored.get(place) for place in told}
    return {(NOON - place.key.window_start) // HOUR for place in told}


def test_the_newest_hours_are_told_and_those_that_are_not_stored() -> None:
    store = filled()
    ahead = ahead_of(store)
    assert windows_told(ahead, range(20)) == set(), "nothing is read yet"
    ahead.units([key_of(0)])
    assert windows_told(ahead, range(20)) == set(range(8))
    nobody = PlacedKey(0, WindowKey("c500", "m_sum", "{}", NOON))
    assert ahead.windows([(key_of(500), NOON)]) == {nobody: None}
    assert store.unit_queries == []


def test_fewer_hours_are_told_where_more_would_be_too_much() -> None:
    store = filled()
    ahead = ahead_of(store, room=4499)
    ahead.units([key_of(0)])
    assert ahead.rows == 2700
    assert windows_told(ahead, range(20)) == {0, 1}


def test_what_was_forgotten_is_read_anew() -> None:
    store = filled()
    ahead = ahead_of(store)
    before = ahead.units([key_of(7)])
    store.put(("c7", "m_sum", "{}"), NOON, row=row_of(90, 5000))
    assert ahead.units([key_of(7)]) == before, "this worker has not held it since"
    ahead.forget_units(NOON)
    assert ahead.rows == 0
    assert ahead.windows([(key_of(7), NOON)]) == {}
    after = ahead.units([key_of(7)])
    assert after == store.plain([key_of(7)])
    assert after != before
    assert len(store.fold_queries) == 2


def test_forgotten_windows_and_older_ones_are_not_told() -> None:
    store = filled()
    ahead = ahead_of(store)
    ahead.units([key_of(7)])
    ahead.forget_windows(NOON - HOUR)
    assert windows_told(ahead, range(20)) == {0}
    ahead.forget_windows(NOON)
    assert windows_told(ahead, range(20)) == set()
    assert ahead.units([key_of(8)]) == store.plain([key_of(8)])
    assert store.unit_queries == [], "units are told as before"


def test_a_unit_whose_borders_were_moved_is_asked_for_and_so_are_its_windows() -> None:
    store = filled()
    ahead = ahead_of(store)
    ahead.units([key_of(0)])
    assert ahead.units([key_of(7, start=NOON - 2 * HOUR)]), "the newest hours are by themselves"
    assert store.unit_queries == []
    moved = key_of(7, start=NOON - 16 * HOUR)
    assert ahead.units([moved]) == store.plain([moved])
    assert store.unit_queries == [[moved]]
    assert ahead.windows([(moved, NOON)]) == {}, "the unit may have been read later"
    assert ahead.windows([(key_of(7), NOON)])
    assert len(store.fold_queries) == 1, "reading again would not help"


def test_a_unit_that_begins_before_what_was_read_is_asked_for_and_so_are_its_windows() -> None:
    store = filled()
    for number in range(2):
        store.put((f"c{number}", "m_sum", "{}"), NOON, part=NOON - DAY, row=row_of(5, 2000))
    ahead = ahead_of(store, keys_min=2)
    ahead.units([key_of(number, start=NOON - DAY) for number in range(2)])
    assert store.fold_queries == [(NOON - DAY, 10_000)]
    assert ahead.units([key_of(7)]) == store.plain([key_of(7)])
    assert store.unit_queries == [[key_of(7)]]
    assert ahead.windows([(key_of(7), NOON)]) == {}, "the unit may have been read later"
    assert ahead.windows([(key_of(1, start=NOON - DAY), NOON)])


def test_more_rows_than_there_is_room_for_are_not_read_twice() -> None:
    store = filled()
    ahead = ahead_of(store, room=2699)
    for number in range(5):
        assert ahead.units([key_of(number)]) == store.plain([key_of(number)])
    assert len(store.fold_queries) == 2, "of more hours, of fewer"
    assert len(store.unit_queries) == 5
    assert ahead.rows == 0
    assert ahead.windows([(key_of(0), NOON)]) == {}


def test_without_room_nothing_is_read_until_there_is_some() -> None:
    store = filled()
    ahead = ahead_of(store, room=0)
    ahead.units([key_of(0)])
    assert store.fold_queries == []
    ahead.room = 4500
    ahead.units([key_of(1)])
    assert store.fold_queries == [(MARCH, 4500)]
    assert ahead.rows == 4500


def test_earlier_units_are_read_ahead_once_and_much_earlier_ones_never() -> None:
    store = filled()
    february, january = MARCH - 28 * DAY, MARCH - 59 * DAY
    for number in range(300):
        row = row_of(3, 900, at=february)
        store.put((f"c{number}", "m_sum", "{}"), february, part=february, row=row)
        store.put((f"c{number}", "m_sum", "{}"), january, part=january, row=row)
    ahead = ahead_of(store, keys_min=10)
    queries = []
    for start, end in ((MARCH, APRIL), (february, MARCH), (january, february)):
        for number in range(40):
            key = key_of(number, start=start, end=end)
            assert ahead.units([key]) == store.plain([key])
        queries.append((len(store.fold_queries), len(store.unit_queries)))
    assert queries == [(1, 9), (2, 18), (2, 58)]


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stored_folds, "_hashes", lambda texts, _spread: np.zeros(len(list(texts)), np.uint64)
    )
    store = filled(20)
    ahead = ahead_of(store)
    keys = [key_of(n, meter) for n in range(30) for meter in ("m_sum", "m_max", "none")]
    assert ahead.units(keys) == store.plain(keys)
    assert store.unit_queries == []


def test_numbers_of_any_size_are_kept() -> None:
    large = 10**75
    rows = [
        Row((f"c{n}", "m", "{}"), MARCH, MARCH, row_of(n, 1) if n else replace(
            row_of(0, 1), units=-large, charge=large))
        for n in range(2)
    ]  # fmt: skip
    folds = folds_of(rows, since=0, recent=0, rows_max=2)
    assert folds is not None
    [[first], [second], none] = FoldTable(folds).find(
        [("c0", "m", "{}"), ("c1", "m", "{}"), ("c2", "m", "{}")]
    )
    assert (first.sum, first.charge, second.sum, none) == (-large, large, 1, [])
    assert FoldTable(FOLDS.empty_table()).find([("c0", "m", "{}")]) == [[]]
    assert FoldTable(folds).find([]) == []


def test_the_partitions_of_a_worker_share_the_room() -> None:
    store, limits = filled(), AheadLimits(keys_min=1, rows_max=6000)
    aheads = [ahead_of(store) for _ in range(2)]
    for ahead in aheads:
        ahead.room = limits.rows_max - sum(each.rows for each in aheads)
        ahead.units([key_of(0)])
    assert [ahead.rows for ahead in aheads] == [4500, 0]


def test_a_partition_that_holds_nothing_is_not_read() -> None:
    store = Counting()
    assert store.partition("s", 0) == StoredPartition(-1, -1)
    ahead = ahead_of(store)
    assert ahead.units([key_of(0)]) == {}
    assert ahead.units([key_of(1)]) == {}
    assert len(store.fold_queries) == 1, "nobody asks before it holds something"
