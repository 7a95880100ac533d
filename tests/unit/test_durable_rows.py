"""What a worker knows to be durable is compared with what ClickHouse says, before it writes."""

from __future__ import annotations

from typing import Any

import pytest

from metering.batch import Source
from metering.errors import RowsLost
from sinks.durable_rows import DurableRows

_FIRST, _SECOND = Source("log", 0, 7), Source("log", 1, 3)


class _Stored:
    """Next offsets by partition, and how often somebody asked."""

    def __init__(self) -> None:
        self.offsets: dict[int, int] = {}
        self.asked = 0

    def next_offsets(self, sources: list[Source]) -> dict[tuple[str, int], int]:
        self.asked += 1
        return {
            (source.stream, source.partition): self.offsets[source.partition]
            for source in sources
            if source.partition in self.offsets
        }


@pytest.fixture
def stored() -> _Stored:
    """Nothing."""
    return _Stored()


@pytest.fixture
def durable(stored: _Stored) -> DurableRows:
    """Knows nothing."""
    progress: Any = stored
    return DurableRows(progress)


def test_as_much_as_was_written_or_more_is_well(stored: _Stored, durable: DurableRows) -> None:
    durable.began(_FIRST, 100)
    durable.wrote(_FIRST, 250)
    stored.offsets = {0: 250}
    durable.require([_FIRST])
    stored.offsets = {0: 300}
    durable.require([_FIRST])


def test_less_is_refused_with_what_was_expected_and_what_is_there(
    stored: _Stored, durable: DurableRows
) -> None:
    durable.began(_FIRST, 100)
    durable.began(_SECOND, 40)
    durable.wrote(_FIRST, 250)
    stored.offsets = {0: 249, 1: 40}
    with pytest.raises(
        RowsLost, match="partition 0: expected rows up to offset 249, got up to 248"
    ):
        durable.require([_FIRST, _SECOND])
    stored.offsets = {0: 250}
    with pytest.raises(RowsLost, match="partition 1: expected rows up to offset 39, got none"):
        durable.require([_FIRST, _SECOND])


def test_where_nothing_was_ever_durable_nobody_is_asked(
    stored: _Stored, durable: DurableRows
) -> None:
    durable.began(_FIRST, None)
    durable.require([_FIRST, _SECOND])
    assert stored.asked == 0


def test_a_new_assignment_of_a_partition_takes_the_place_of_the_one_before(
    stored: _Stored, durable: DurableRows
) -> None:
    durable.began(_FIRST, 100)
    again = Source("log", 0, 8)
    durable.began(again, 60)
    durable.wrote(_FIRST, 500)  # of a worker that was replaced meanwhile
    stored.offsets = {0: 60}
    durable.require([again])
