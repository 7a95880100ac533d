"""Offsets and times of what a poll gave: no Python object for each where there are no gaps."""

import numpy as np
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from dataflows.source import UsageReader
from metering.batch import RawBatch, Source, Tick

_SOURCE = Source("usage.events:1", 3, 1)
_FIRST_MS = 1_795_400_000_000


class _Log:
    """What a reader gives at one poll."""

    is_answering = True

    def __init__(self, offsets: list[int]) -> None:
        self.positions = {_SOURCE: offsets[0]}
        self._offsets = offsets

    def poll(self, _count: int, _wait_s: float) -> list[Message]:
        return [
            Message(
                topic="usage.events", partition=_SOURCE.partition, offset=offset, key=b"k",
                value=b"%d" % offset, timestamp=(TIMESTAMP_LOG_APPEND_TIME, _FIRST_MS + 7 * at),
            )
            for at, offset in enumerate(self._offsets)
        ]  # fmt: skip


def _read(offsets: list[int], *, events_max: int = 100) -> list[RawBatch]:
    reader = UsageReader(
        _Log(offsets), lambda: [_SOURCE], "usage.events",  # type: ignore[arg-type]
        events_max=events_max, wait_s=0, clock_ms=lambda: _FIRST_MS, is_stopping=lambda: False,
    )  # fmt: skip
    return [item for item in reader.next_batch() if not isinstance(item, Tick)]


@pytest.mark.parametrize(
    "offsets",
    [[5], [5, 6, 7, 8], [5, 7, 8, 9], [5, 6, 8], [5, 6, 7, 11], [0, 1, 2], [0, 2]],
    ids=str,
)
def test_offsets_and_times_are_those_of_the_messages(offsets: list[int]) -> None:
    (batch,) = _read(offsets)
    assert list(batch.offsets) == offsets
    assert batch.offset_column().tolist() == offsets
    assert batch.offset_column().dtype == np.int64
    times = [_FIRST_MS + 7 * at for at in range(len(offsets))]
    assert list(batch.record_times_ms) == times
    assert all(type(each) is int for each in batch.record_times_ms)
    assert batch.record_ms_column().tolist() == times
    assert (batch.first_offset, batch.next_offset) == (offsets[0], offsets[-1] + 1)


def test_a_batch_that_is_cut_has_its_own_offsets() -> None:
    first, second, third = _read([5, 6, 7, 8, 10], events_max=2)
    assert [list(each.offsets) for each in (first, second, third)] == [[5, 6], [7, 8], [10]]
    assert [each.values for each in (second, third)] == [[b"7", b"8"], [b"10"]]
    # The gap before the last one belongs to it.
    assert (third.first_offset, third.next_offset) == (9, 11)
