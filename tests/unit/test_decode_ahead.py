"""Batches are decoded ahead of the flow, and leave in the order in which they came."""

from concurrent.futures import Executor, Future
from typing import Any, cast

import pytest

from dataflows.decode_ahead import DecodeAhead, Decoding
from metering.batch import EventBatch, RawBatch, Source, Tick
from metering.decode import Decoder

_SOURCE = Source("s", 0, 1)


class Batch:
    """As much of an `EventBatch` as this step touches."""

    raw: RawBatch


class Later(Executor):
    """Runs what was submitted when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Any, Any]] = []

    def submit(self, fn: Any, /, *args: Any, **_kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, fn, args))
        return future

    def run(self) -> None:
        for future, fn, args in self.waiting:
            try:
                future.set_result(fn(*args))
            except RuntimeError as error:
                future.set_exception(error)
        self.waiting.clear()


class Stub:
    """Stands in for a decoder."""

    def decode(self, raw: RawBatch) -> EventBatch:
        if raw.first_offset == 13:
            raise RuntimeError("cannot be")
        return cast("EventBatch", Batch())


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def ahead(later: Later) -> DecodeAhead:
    return DecodeAhead(cast("Decoder", Stub()), later)


def _raw(first: int) -> RawBatch:
    return RawBatch(_SOURCE, [first], [0], [b"{}"], first, first + 1)


def _firsts(items: list[Decoding | Tick]) -> list[int | None]:
    found = [item if isinstance(item, Tick) else item.result(0).raw for item in items]
    return [each.first_offset if each and not isinstance(each, Tick) else None for each in found]


def test_while_behind_each_poll_is_decoded_during_the_next(
    ahead: DecodeAhead, later: Later
) -> None:
    assert ahead.step([_raw(1), _raw(2)], is_behind=True) == []
    assert len(later.waiting) == 2, "begun, though nobody waits for it"
    later.run()
    second = ahead.step([_raw(3), Tick(0)], is_behind=True)
    assert _firsts(second) == [1, 2]
    later.run()
    assert _firsts(ahead.step([_raw(4)], is_behind=True)) == [3, None]


@pytest.mark.parametrize("last", [[_raw(2), Tick(5)], [Tick(5, last=True)]])
def test_once_caught_up_or_stopping_nothing_is_held_back(
    ahead: DecodeAhead, later: Later, last: list[RawBatch | Tick]
) -> None:
    ahead.step([_raw(1)], is_behind=True)
    is_stopping = isinstance(last[0], Tick)
    ready = ahead.step(last, is_behind=is_stopping)
    later.run()
    assert _firsts(ready) == ([1, None] if is_stopping else [1, 2, None])
    assert ahead.step([], is_behind=False) == []


def test_an_error_comes_with_its_batch(ahead: DecodeAhead, later: Later) -> None:
    fine, broken = ahead.step([_raw(12), _raw(13)], is_behind=False)
    later.run()
    assert _firsts([fine]) == [12]
    with pytest.raises(RuntimeError, match="cannot be"):
        _firsts([broken])


def test_a_thread_of_its_own_decodes_until_it_is_closed() -> None:
    ahead = DecodeAhead(cast("Decoder", Stub()))
    (ready,) = ahead.step([_raw(1)], is_behind=False)
    assert isinstance(ready, Future)
    assert ready.result(30).raw == _raw(1)
    ahead.close()
    with pytest.raises(RuntimeError):
        ahead.step([_raw(2)], is_behind=False)
