"""Hours that the ledger keeps: all while there is room, few of each unit when there is not."""

import json
from pathlib import Path

import numpy as np
import pytest
from catalogs import microseconds

from dataflows.ledger import Ledger, LedgerPlan
from dataflows.ledger_columns import WINDOWS_KEPT, WINDOWS_MOST
from metering.batch import RawBatch, Source
from metering.catalog_load import load_catalog
from metering.decode import Decoder
from metering.settings import load_settings
from metering.totals import PlacedKey, StoredPartition, StoredUnit, StoredWindow, UnitKey

METERS = "meters:\n- {key: m, unit: u, aggregation: count}\n"
FIRST_S = microseconds("2026-03-05") // 1_000_000
SOURCE = Source("s", 0, 1)


class Store:
    """Holds nothing; remembers which windows were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def partition(self, _stream: str, _partition: int) -> StoredPartition:
        return StoredPartition(-1, -1)

    def units(
        self, _stream: str, _partition: int, _keys: list[UnitKey]
    ) -> dict[UnitKey, StoredUnit]:
        return {}

    def folds(
        self, _stream: str, _partition: int, *, since: int, recent: int, rows_max: int
    ) -> None:
        del since, recent, rows_max

    def windows(self, _stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        self.asked += [
            (each.key.customer_id, (each.key.window_start - FIRST_S) // 3600) for each in keys
        ]
        return {}


class Live:
    """One partition, batch by batch."""

    def __init__(self, folder: Path, *, windows_max: int) -> None:
        (folder / "meters.yaml").write_text(METERS)
        catalog = load_catalog(folder)
        self.store = Store()
        self.ledger = Ledger(catalog, self.store, units_max=1000, windows_max=windows_max)
        self._decoder = Decoder(catalog, load_settings())
        self._next = 0

    def load(self, *hours: tuple[str, int]) -> LedgerPlan:
        """A batch of one event of each (customer, hour)."""
        first = self._next
        self._next += len(hours)
        messages: list[bytes | None] = [
            json.dumps(
                {
                    "id": f"e{first + at}", "customer_id": customer, "meter": "m",
                    "occurred_at": f"2026-03-{5 + hour // 24:02d}T{hour % 24:02d}:10:00Z",
                }
            ).encode()
            for at, (customer, hour) in enumerate(hours)
        ]  # fmt: skip
        offsets = list(range(first, self._next))
        times = [microseconds("2026-04-01") // 1000] * len(hours)
        batch = self._decoder.decode(RawBatch(SOURCE, offsets, times, messages, first, self._next))
        assert len(batch) == len(hours), batch.rejections
        return self.ledger.load(batch)

    def apply(self, plan: LedgerPlan) -> None:
        """Count all of a batch, make it durable, and forget what may be forgotten."""
        count = len(plan.batch)
        every = np.ones(count, np.bool_)
        self.ledger.apply(plan, np.arange(count), late=~every, counted=every)
        number, _ = self.ledger.cut()
        self.ledger.settle(number)

    def take(self, *hours: tuple[str, int]) -> None:
        self.apply(self.load(*hours))

    def held(self) -> dict[str, list[int]]:
        """Hours by customer, as the cells say."""
        (part,) = self.ledger._partitions.values()
        cells = part.table.cells[part.table.cells["window"] > 0]
        found: dict[str, list[int]] = {}
        for number in range(len(part.table)):
            mine = cells["window"][cells["unit"] == number]
            customer = part.table.keys([number])[0].customer_id
            found[customer] = sorted(((mine - FIRST_S) // 3600).tolist())
        return found


def test_no_hour_is_asked_for_while_there_is_room(tmp_path: Path) -> None:
    live = Live(tmp_path, windows_max=40)
    for hour in range(20):
        live.take(("a", hour), ("b", hour))
    live.take(*((who, hour) for hour in range(20) for who in "ab"))
    assert live.store.asked == []
    assert live.ledger.window_count == 40


def test_beyond_the_room_each_unit_keeps_its_newest(tmp_path: Path) -> None:
    live = Live(tmp_path, windows_max=40)
    for hour in range(20):
        live.take(("a", hour), ("b", hour))
    live.take(("c", 0))
    newest = list(range(19 - WINDOWS_KEPT, 20))
    assert live.held() == {"a": newest, "b": newest, "c": [0]}
    assert live.ledger.window_count == 2 * len(newest) + 1
    live.take(("a", 3), ("b", 19), ("b", 16), ("c", 0), ("c", 7))
    assert live.store.asked == [("a", 3)]
    assert live.held() == {"a": [3, *newest], "b": newest, "c": [0, 7]}
    assert live.ledger.window_count == 2 * len(newest) + 3


def test_one_unit_does_not_take_all_the_room(tmp_path: Path) -> None:
    live = Live(tmp_path, windows_max=10_000)
    for hour in range(WINDOWS_MOST + 1):
        live.take(("a", hour), ("b", min(hour, 9)))
    assert len(live.held()["a"]) == WINDOWS_MOST + 1
    live.take(("a", WINDOWS_MOST + 1))
    newest = list(range(WINDOWS_MOST + 1 - WINDOWS_KEPT, WINDOWS_MOST + 2))
    assert live.held() == {"a": newest, "b": list(range(10))}
    live.take(("a", 0), ("b", 0))
    assert live.store.asked == [("a", 0)]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_held_is_counted(tmp_path: Path, seed: int) -> None:
    """Forgotten places are taken again: the count is that of the cells."""
    live, rng = Live(tmp_path, windows_max=12), np.random.default_rng(seed)
    for _ in range(60):
        live.take(*(("abc"[rng.integers(3)], int(rng.integers(30))) for _ in range(4)))
        held = live.held()
        assert live.ledger.window_count == sum(map(len, held.values()))
    assert len(live.store.asked) > 20


def test_a_batch_on_its_way_keeps_its_hours(tmp_path: Path) -> None:
    live = Live(tmp_path, windows_max=0)
    first, second = live.load(*(("a", hour) for hour in range(5))), live.load(("a", 0))
    live.apply(first)
    assert live.held() == {"a": [0, 1, 2, 3, 4]}
    live.apply(second)
    assert live.store.asked == []
    assert live.held() == {"a": [1, 2, 3, 4]}
