"""Windows are read beside the flow: what waits together is one query."""

from concurrent.futures import CancelledError
from threading import Event, Thread

import pytest

from dataflows import window_reads
from dataflows.window_reads import WindowReads
from metering.errors import DependencyDown
from metering.totals import PlacedKey, StoredPartition, StoredUnit, StoredWindow, UnitKey, WindowKey


class Store:
    """Remembers each query; the first waits until it may go on."""

    def __init__(self, failing: int = 0) -> None:
        self.queries: list[tuple[str, list[PlacedKey]]] = []
        self.has_begun, self.may_go_on = Event(), Event()
        self._failing = failing

    def partition(self, stream: str, partition: int) -> StoredPartition:
        raise NotImplementedError

    def units(self, stream: str, partition: int, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        raise NotImplementedError

    def folds(
        self, _stream: str, _partition: int, *, since: int, recent: int, rows_max: int
    ) -> None:
        del since, recent, rows_max
        raise NotImplementedError

    def windows(self, stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        self.queries.append((stream, keys))
        self.has_begun.set()
        assert self.may_go_on.wait(30)
        if len(self.queries) <= self._failing:
            raise DependencyDown("away")
        return {each: _stored(each) for each in keys if each.key.window_start}


def _stored(place: PlacedKey) -> StoredWindow:
    return StoredWindow(place.key.window_start, 1, 0, 0, 0, bytes(16), place.partition)


def place(partition: int, hour: int) -> PlacedKey:
    return PlacedKey(partition, WindowKey("c", "m", "{}", hour))


def test_what_is_asked_during_a_query_is_one_query_after_it() -> None:
    store = Store()
    reads = WindowReads(store)
    first = reads.ask("s", [place(0, 1)])
    assert store.has_begun.wait(30)
    pairs = [[place(partition, 5), place(partition, 0)] for partition in range(4)]
    other = reads.ask("backfill", [place(0, 5)])
    later = [reads.ask("s", pair) for pair in pairs]
    store.may_go_on.set()
    assert first.window(*place(0, 1)) == _stored(place(0, 1))
    for partition, asked in enumerate(later):
        assert asked.window(*place(partition, 5)) == _stored(place(partition, 5))
        assert asked.window(*place(partition, 0)) is None, "it is not stored"
    assert other.window(*place(0, 5)) == _stored(place(0, 5))
    together = sorted(place(partition, hour) for partition in range(4) for hour in (0, 5))
    assert store.queries == [
        ("s", [place(0, 1)]), ("backfill", [place(0, 5)]), ("s", together)
    ]  # fmt: skip
    reads.close()


def test_what_is_known_is_not_asked_for() -> None:
    store = Store()
    store.may_go_on.set()
    reads = WindowReads(store)
    known = {place(0, 1): StoredWindow(7, 1, 0, 0, 0, bytes(16), 3), place(0, 3): None}
    all_known = reads.ask("s", [place(0, 1)], known=known)
    assert all_known.window(*place(0, 1)) == known[place(0, 1)]
    assert store.queries == []
    some_known = reads.ask("s", [place(0, number) for number in (1, 2, 3)], known=known)
    assert some_known.window(*place(0, 3)) is None
    assert some_known.window(*place(0, 1)) == known[place(0, 1)]
    assert some_known.window(*place(0, 2)) == _stored(place(0, 2))
    assert store.queries == [("s", [place(0, 2)])]
    reads.close()


def test_a_query_asks_for_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_reads, "_KEYS_MAX", 3)
    store = Store()
    reads = WindowReads(store)
    asked = [reads.ask("s", [place(0, 1)])]
    assert store.has_begun.wait(30)
    asked += [reads.ask("s", [place(n, hour) for hour in range(1, n + 1)]) for n in (5, 2, 2, 1)]
    store.may_go_on.set()
    for number, each in zip((0, 5, 2, 2, 1), asked, strict=True):
        assert each.window(*place(number, 1)) == _stored(place(number, 1))
    assert [len(keys) for _, keys in store.queries] == [1, 5, 3, 2]
    reads.close()


def test_a_failed_query_is_told_to_who_began_it_and_the_others_ask_for_themselves() -> None:
    store = Store(failing=2)
    reads = WindowReads(store)
    first = reads.ask("s", [place(0, 1)])
    assert store.has_begun.wait(30)
    second, third = reads.ask("s", [place(1, 1)]), reads.ask("s", [place(2, 1)])
    store.may_go_on.set()
    for failed, number in ((first, 0), (second, 1)):
        with pytest.raises(DependencyDown):
            failed.window(*place(number, 1))
    assert third.window(*place(2, 1)) == _stored(place(2, 1))
    assert [len(keys) for _, keys in store.queries] == [1, 2, 1]
    reads.close()


def test_nothing_is_begun_after_the_end() -> None:
    store = Store()
    reads = WindowReads(store)
    reads.ask("s", [place(0, 1)])
    assert store.has_begun.wait(30)
    waiting = reads.ask("s", [place(1, 1)])
    ending = Thread(target=reads.close)
    ending.start()
    with pytest.raises(CancelledError):
        waiting.window(*place(1, 1))
    store.may_go_on.set()
    ending.join(30)
    assert len(store.queries) == 1
