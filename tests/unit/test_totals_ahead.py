"""What is read ahead answers as the store would, seldom asks it, and is dropped when it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from catalogs import microseconds
from folding import Row, folds_of
from test_rated_stream import Store

from dataflows import stored_folds
from dataflows.catalog_watch import rating_of
from dataflows.ledger import Ledger
from dataflows.stored_folds import FoldTable
from dataflows.totals_ahead import AheadLimits, TotalsAhead
from metering.batch import RawBatch, Source
from metering.decode import Decoder
from metering.settings import load_settings
from metering.totals import (
    FOLDS,
    PlacedKey,
    StoredPartition,
    StoredUnit,
    StoredWindow,
    UnitKey,
    WindowKey,
)
from rating_engine.price_book.load import load_price_book

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
    """Three meters of each customer, with usage in five hours until noon."""
    store = Counting()
    for number in range(customers):
        for place, meter in enumerate(("m_sum", "m_max", "m_latest")):
            for hour in range(5):
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
    assert ahead.rows == 900 * 3, "two hours, and what was before them"


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
    told: dict[PlacedKey, StoredWindow] = {}
    for _ in range(8):
        some = rng.sample(keys, rng.randint(1, len(keys)))
        assert ahead.units(some) == store.plain(some)
        asked = [(key, key.start + rng.randrange(25) * HOUR) for key in some]
        told |= ahead.windows([(key, window - window % HOUR) for key, window in asked])
    assert told == store.windows("s", list(told))
    assert all(row.events for row in told.values())


def test_most_of_the_answers_come_from_what_was_read() -> None:
    store = filled()
    ahead = ahead_of(store)
    windows = [(key_of(n), NOON - hour * HOUR) for n in range(300) for hour in range(3)]
    assert ahead.windows(windows) == {}, "nothing is read yet"
    ahead.units([key_of(0)])
    told = ahead.windows(windows)
    places = [
        PlacedKey(0, WindowKey(f"c{n}", "m_sum", "{}", NOON - hour * HOUR))
        for n in range(300) for hour in range(2)
    ]  # fmt: skip
    assert told == store.windows("s", places), "the two newest hours"
    assert store.unit_queries == []


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
    told = ahead.windows([(key_of(7), NOON), (key_of(7), NOON - HOUR)])
    assert [place.key.window_start for place in told] == [NOON]
    ahead.forget_windows(NOON)
    assert ahead.windows([(key_of(7), NOON)]) == {}
    assert ahead.units([key_of(8)]) == store.plain([key_of(8)])
    assert store.unit_queries == [], "units are told as before"


def test_a_unit_whose_borders_were_moved_is_asked_for_and_so_are_its_windows() -> None:
    store = filled()
    ahead = ahead_of(store)
    ahead.units([key_of(0)])
    moved = key_of(7, start=NOON - 2 * HOUR - HOUR // 2)
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
    assert len(store.fold_queries) == 1
    assert len(store.unit_queries) == 5
    assert ahead.rows == 0
    assert ahead.windows([(key_of(0), NOON)]) == {}


def test_without_room_nothing_is_read_until_there_is_some() -> None:
    store = filled()
    ahead = ahead_of(store, room=0)
    ahead.units([key_of(0)])
    assert store.fold_queries == []
    ahead.room = 2700
    ahead.units([key_of(1)])
    assert store.fold_queries == [(MARCH, 2700)]
    assert ahead.rows == 2700


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


METERS = "meters:\n" + "".join(
    f"- {{key: m_{how}, unit: u, aggregation: {how}}}\n" for how in ("sum", "max", "latest")
)

PLANS = "plans:\n- key: a\n  currency: USD\n  prorate_allowance: false\n  versions:" + "".join(
    f"""
  - version: {day}
    effective_from: 2026-03-{day:02d}T00:00:00Z
    charges:
    - {{meter: m_sum, allowance: "2", price: {{model: per_unit, unit_price: "{day}"}}}}"""
    for day in (1, 3)
)
SUBSCRIPTIONS = "subscriptions:\n" + "".join(
    f"- {{id: s{n}, customer_id: c{n}, plan: a, from: 2026-03-01T00:00:00Z}}\n" for n in range(10)
)


class Live:
    """A partition that goes from worker to worker."""

    def __init__(self, folder: Path, **limits: int) -> None:
        for name, text in (
            ("meters", METERS), ("plans", PLANS), ("subscriptions", SUBSCRIPTIONS)
        ):  # fmt: skip
            (folder / f"{name}.yaml").write_text(text)
        self.book = load_price_book(folder)
        self.store = Counting()
        self._limits = AheadLimits(**limits)
        self._decoder = Decoder(self.book.catalog, load_settings())
        self._next = self._generation = 0
        self.hand_over()

    def hand_over(self, *, units_max: int = 10_000) -> None:
        """Another worker takes the partition over; nobody has written in vain."""
        self._generation += 1
        self.ledger = Ledger(
            self.book.catalog, self.store, units_max=units_max, rating=rating_of(self.book)
        )
        self.ledger.ahead_limits = self._limits

    def move(self) -> None:
        """The same worker gets it again."""
        self._generation += 1
        self.ledger.forget("s", 0)

    def take(self, customers: range, *, quantity: int = 1, minute: int = 5) -> None:
        """An event of each meter of each customer, counted and made durable."""
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{self._next}-{customer}-{meter}", "customer_id": f"c{customer}",
                    "meter": meter, "quantity": quantity,
                    "occurred_at": f"2026-03-05T10:{minute:02d}:00Z",
                }
            ).encode()
            for customer in customers
            for meter in ("m_sum", "m_max", "m_latest")
        ]  # fmt: skip
        first, self._next = self._next, self._next + len(messages)
        record_ms = microseconds("2026-03-05T10:30:00Z") // 1000
        batch = self._decoder.decode(
            RawBatch(
                Source("s", 0, self._generation), list(range(first, self._next)),
                [record_ms] * len(messages), messages, first, self._next,
            )
        )  # fmt: skip
        plan, every = self.ledger.load(batch), np.arange(len(batch))
        yes = np.ones(len(batch), np.bool_)
        self.ledger.apply(plan, every, late=~yes, counted=yes)
        number, totals = self.ledger.cut()
        for found in totals.values():
            self.store.take(found, self._next - 1)
        self.ledger.settle(number)

    def sums(self) -> set[int]:
        """Different totals of `m_sum`."""
        return {row.units for key, (row, _) in self.store.rows.items() if key[1] == "m_sum"}


def test_a_partition_that_was_handed_over_is_read_in_a_few_queries(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.take(range(500))
    live.hand_over()
    for first in range(0, 500, 10):
        live.take(range(first, first + 10), quantity=2)
    assert live.sums() == {3 * 10**12}
    assert len(live.store.unit_queries) == 8, "until 256 units were asked for"
    assert len(live.store.fold_queries) == 1
    assert live.store.window_queries == 7, "the last of the unit queries was for a chain"
    assert live.ledger.rows_ahead == 1500
    live.move()
    assert live.ledger.rows_ahead == 0


def test_an_assignment_knows_nothing_of_what_an_earlier_one_read(tmp_path: Path) -> None:
    live = Live(tmp_path, keys_min=1)
    live.take(range(20))
    live.hand_over()
    live.take(range(1))
    mine = live.ledger
    live.hand_over()
    live.take(range(20))
    live.ledger = mine
    live.move()
    live.take(range(20))
    assert live.sums() == {3 * 10**12, 4 * 10**12}
    assert len(live.store.fold_queries) == 3


def test_what_a_worker_held_and_forgot_is_read_anew(tmp_path: Path) -> None:
    live = Live(tmp_path, keys_min=1)
    live.take(range(20))
    live.hand_over(units_max=12)
    for _ in range(3):
        for first in range(0, 20, 2):
            live.take(range(first, first + 2))
    assert live.sums() == {4 * 10**12}
    assert live.store.unit_queries == []
    assert len(live.store.fold_queries) > 3


def test_the_partitions_of_a_worker_share_the_room() -> None:
    store, limits = filled(), AheadLimits(keys_min=1, rows_max=3000)
    aheads = [ahead_of(store) for _ in range(2)]
    for ahead in aheads:
        ahead.room = limits.rows_max - sum(each.rows for each in aheads)
        ahead.units([key_of(0)])
    assert [ahead.rows for ahead in aheads] == [2700, 0]


def test_a_partition_that_holds_nothing_is_not_read() -> None:
    store = Counting()
    assert store.partition("s", 0) == StoredPartition(-1, -1)
    ahead = ahead_of(store)
    assert ahead.units([key_of(0)]) == {}
    assert ahead.units([key_of(1)]) == {}
    assert len(store.fold_queries) == 1, "nobody asks before it holds something"
