"""What we rely on the engine for, pinned: an upgrade that changes it fails here, and quickly."""

from __future__ import annotations

from collections.abc import Callable

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflows.pipeline import AccountSink
from dataflows.runner import run_flow
from dataflows.source import UsageSource


class _Scripted(DynamicSource[int]):
    def __init__(self, read: Callable[[], list[int]]) -> None:
        self._read = read

    def build(self, _step: str, _index: int, _count: int) -> StatelessSourcePartition[int]:
        return _ScriptedPartition(self._read)


class _ScriptedPartition(StatelessSourcePartition[int]):
    def __init__(self, read: Callable[[], list[int]]) -> None:
        self._read = read

    def next_batch(self) -> list[int]:
        return self._read()


class _Collect(DynamicSink[int]):
    def __init__(self, into: list[int]) -> None:
        self._into = into

    def build(self, _step: str, _index: int, _count: int) -> StatelessSinkPartition[int]:
        return _CollectPartition(self._into)


class _CollectPartition(StatelessSinkPartition[int]):
    def __init__(self, into: list[int]) -> None:
        self._into = into

    def write_batch(self, items: list[int]) -> None:
        self._into.extend(items)


def _reading(batches: list[list[int]]) -> Callable[[], list[int]]:
    left = iter(batches)

    def read() -> list[int]:
        for batch in left:
            return batch
        raise StopIteration

    return read


def _flow(batches: list[list[int]], step: Callable[[int], list[int]], into: list[int]) -> Dataflow:
    flow = Dataflow("canary")
    source = op.input("source", flow, _Scripted(_reading(batches)))
    first = op.flat_map("first", source, lambda item: [item])
    stepped = op.flat_map("second", first, step)
    op.output("sink", stepped, _Collect(into))
    return flow


def test_the_end_of_the_source_ends_the_run_after_everything_was_delivered() -> None:
    found: list[int] = []
    run_flow(_flow([[1, 2], [], [3]], lambda item: [item], found))
    assert found == [1, 2, 3]


def test_items_reach_every_step_in_the_order_in_which_the_source_gave_them() -> None:
    batches = [list(range(at, at + at % 7)) for at in range(0, 2000, 10)]
    expected = [item for batch in batches for item in batch]
    seen: list[int] = []
    found: list[int] = []

    def see(item: int) -> list[int]:
        seen.append(item)
        return [item, -item] if item % 3 == 0 else [item]

    run_flow(_flow(batches, see, found))
    assert seen == expected
    assert found == [out for item in expected for out in ([item, -item][: 1 + (item % 3 == 0)])]


def test_one_flow_runs_after_the_other_in_one_process() -> None:
    for number in range(3):
        found: list[int] = []
        run_flow(_flow([[number]], lambda item: [item], found))
        assert found == [number]


def test_an_exception_in_a_step_ends_the_run_and_surfaces() -> None:
    def fail(item: int) -> list[int]:
        message = f"cannot take {item}"
        raise ValueError(message)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - the engine wraps it as it likes
        run_flow(_flow([[1], [2]], fail, []))
    assert "cannot take 1" in _causes(caught.value)


def test_an_exception_in_the_source_ends_the_run_and_surfaces() -> None:
    def read() -> list[int]:
        message = "the source is broken"
        raise ValueError(message)

    flow = Dataflow("canary")
    op.output("sink", op.input("source", flow, _Scripted(read)), _Collect([]))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - as above
        run_flow(flow)
    assert "the source is broken" in _causes(caught.value)


def test_an_idle_source_is_asked_again_and_again_without_waiting_for_an_epoch() -> None:
    asked = 0

    def read() -> list[int]:
        nonlocal asked
        asked += 1
        if asked > 2000:
            raise StopIteration
        return []

    flow = Dataflow("canary")
    op.output("sink", op.input("source", flow, _Scripted(read)), _Collect([]))
    run_flow(flow)
    assert asked == 2001


def test_our_source_refuses_a_second_engine_worker_in_one_process() -> None:
    with pytest.raises(ValueError, match="expected one worker per process, got 2"):
        UsageSource(list).build("source", 0, 2)


def test_our_sink_takes_batches_of_items_as_the_engine_hands_them_over() -> None:
    found: list[object] = []
    sink = AccountSink(found.extend).build("account", 0, 1)
    sink.write_batch([])
    assert found == []


def _causes(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
