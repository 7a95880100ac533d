"""Rows leave memory before their totals where a flush gathers for long."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataflows.flusher import Flusher
from dataflows.outcome import Outcome
from metering.batch import Source
from metering.errors import DependencyDown
from metering.flush import DUPLICATE_SCHEMA, Flush

_FIRST, _SECOND = Source("log", 0, 7), Source("log", 1, 3)


class _Ledger:
    """As many changed windows as the test says."""

    def __init__(self) -> None:
        self.changed = 0
        self.cuts = 0
        self.settled: list[int] = []

    def cut(self) -> tuple[int, dict[Source, Any]]:
        self.cuts += 1
        self.changed = 0
        return self.cuts, {}

    def take_new_prices(self) -> tuple[None, None]:
        return None, None

    def settle(self, number: int) -> None:
        self.settled.append(number)


class _Sink:
    """Notes what comes: `+` rows ahead, `=` a whole flush."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Flush]] = []
        self.error: Exception | None = None

    def write_ahead(self, flush: Flush) -> None:
        self._note("+", flush)

    def write(self, flush: Flush) -> None:
        self._note("=", flush)

    def _note(self, mark: str, flush: Flush) -> None:
        if self.error is not None:
            raise self.error
        self.written.append((mark, flush))

    def told(self) -> str:
        return " ".join(f"{mark}{_rows(flush)}" for mark, flush in self.written)


class _Slow(Future[None]):
    """Not done until somebody waits for it."""

    def result(self, timeout: float | None = None) -> None:
        del timeout
        self.set_result(None)


class _Later:
    def submit(self, fn: Any, *args: Any) -> Future[None]:
        fn(*args)
        return _Slow()


class _AtOnce:
    def submit(self, fn: Any, *args: Any) -> Future[None]:
        future: Future[None] = Future()
        try:
            future.set_result(fn(*args))
        except Exception as error:  # noqa: BLE001 - what the flusher has to raise
            future.set_exception(error)
        return future

    def shutdown(self, **_: Any) -> None:
        pass


class _Rig:
    """A flusher with room for 10, whose clock the test moves."""

    def __init__(self, executor: Any) -> None:
        self.ledger, self.sink, self.now_ms = _Ledger(), _Sink(), 0
        self.lost: set[Source] = set()
        ledger: Any = self.ledger
        self.flusher = Flusher(
            ledger, self.sink, lambda: self.now_ms, rows_max=10, wait_ms=lambda: 1000,
            is_current=lambda source: source not in self.lost, executor=executor,
        )  # fmt: skip
        self._offsets = {_FIRST: 0, _SECOND: 50}

    def add(self, events: int, source: Source = _FIRST, *, changed: int = 0) -> None:
        first = self._offsets[source]
        self._offsets[source] += events
        self.ledger.changed += changed
        self.flusher.add(
            Outcome(
                source, first, first + events, watermark_ms=first + events,
                events=_events(first, events), duplicates=None, rejections=(), suppressions=(),
                gaps=(), late=0, conflicts=0,
            )
        )  # fmt: skip


@pytest.fixture
def rig() -> _Rig:
    """Nothing was added."""
    return _Rig(_AtOnce())


def test_what_comes_during_a_slow_write_waits_for_it_once_the_room_is_full() -> None:
    rig = _Rig(_Later())
    rig.add(8)
    rig.add(8)
    rig.add(1)
    assert rig.sink.told() == "+8", "the second is much, but there is room yet"
    rig.add(1)
    assert rig.sink.told() == "+8 +10"


def test_rows_that_fill_the_room_go_ahead_and_their_totals_follow(rig: _Rig) -> None:
    rig.add(4, changed=1)
    assert rig.sink.told() == ""
    rig.add(6)
    rig.add(9)
    assert rig.sink.told() == "+10 +9"
    rig.now_ms = 1000
    rig.add(2)
    assert rig.sink.told() == "+10 +9 =2"
    rig.flusher.poll()
    assert (rig.ledger.cuts, rig.ledger.settled) == (1, [1])
    last = rig.sink.written[-1][1].parts[0]
    assert (last.first_offset, last.next_offset, last.watermark_ms) == (0, 21, 21)
    assert sum(rows.num_rows for rows in last.times_ahead) == 19
    assert last.newest_ms() == 20


def test_totals_that_fill_half_of_the_room_are_cut_once_it_is_full(rig: _Rig) -> None:
    rig.add(2, changed=2)
    assert rig.sink.told() == "", "8 of 10: were these events alone, they would go ahead"
    rig.add(1)
    assert rig.sink.told() == ""
    rig.add(1)
    assert rig.sink.told() == "=4"
    assert rig.ledger.cuts == 1


def test_a_flush_ends_after_so_many_writes_though_the_clock_stands_still(rig: _Rig) -> None:
    for _ in range(9):
        rig.add(8)
    assert rig.sink.told() == " ".join(["+8"] * 8), "the ninth fills the room but in part"
    rig.add(8)
    assert rig.sink.told() == " ".join(["+8"] * 8 + ["=16"])
    rig.add(8)
    assert rig.sink.told().endswith("=16 +8")


def test_a_flush_is_as_old_as_the_first_of_it_that_went_ahead(rig: _Rig) -> None:
    rig.now_ms = 100
    rig.add(12)
    rig.now_ms = 900
    rig.add(1)
    rig.now_ms = 1099
    rig.flusher.poll()
    assert rig.sink.told() == "+12"
    rig.now_ms = 1100
    rig.flusher.poll()
    assert rig.sink.told() == "+12 =1"


def test_totals_follow_though_no_row_is_left(rig: _Rig) -> None:
    rig.add(12)
    assert rig.flusher.is_gathering
    rig.flusher.drain()
    assert rig.sink.told() == "+12 =0"
    assert rig.sink.written[-1][1].parts[0].next_offset == 12
    assert not rig.flusher.is_gathering


def test_a_partition_that_is_taken_away_has_no_totals(rig: _Rig) -> None:
    rig.add(5)
    rig.add(6, _SECOND)
    rig.lost.add(_FIRST)
    rig.add(7, _SECOND)
    rig.add(5, _SECOND)
    rig.flusher.drain()
    assert [[part.source for part in flush.parts] for _, flush in rig.sink.written] == [
        [_FIRST, _SECOND], [_SECOND], [_SECOND],
    ]  # fmt: skip


def test_nothing_is_written_after_rows_that_could_not_go_ahead(rig: _Rig) -> None:
    rig.sink.error = DependencyDown("no")
    rig.add(12)
    rig.sink.error = None
    for _ in range(2):
        with pytest.raises(DependencyDown):
            rig.flusher.drain()
    assert not rig.sink.written


def test_the_newest_record_time_is_of_every_kind_of_row(rig: _Rig) -> None:
    rig.add(12)
    part = rig.sink.written[0][1].parts[0]
    assert part.newest_ms() == 11
    copy = {name: [None] for name in DUPLICATE_SCHEMA.names} | {"record_time": [40]}
    part.duplicates.append(pa.RecordBatch.from_pydict(copy, schema=DUPLICATE_SCHEMA))
    assert part.newest_ms() == 40
    assert part.emptied().newest_ms() == 40


def _events(first: int, count: int) -> pa.RecordBatch:
    at = np.arange(first, first + count)
    return pa.record_batch(
        {
            "offset": pa.array(at.astype(np.uint64)),
            "record_time": pa.array(at).cast(pa.timestamp("ms", tz="UTC")),
            "occurred_at": pa.array(at * 1000).cast(pa.timestamp("us", tz="UTC")),
            "late": pa.array([False] * count),
        }
    )


def _rows(flush: Flush) -> int:
    return sum(rows.num_rows for part in flush.parts for rows in part.events)
