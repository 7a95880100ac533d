"""What the steps ask ClickHouse: stored totals, owners in raw history, progress."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pyarrow as pa
from folding import Row, folds_of

from metering.batch import Source
from metering.errors import DependencyDown
from metering.history import Owner
from metering.totals import (
    PlacedKey,
    StoredPartition,
    StoredUnit,
    StoredWindow,
    UnitKey,
)
from simulator.clickhouse_model import ClickHouseServer, RawRow, Tables, TotalsRow
from simulator.traffic import STREAM
from simulator.turns import Turns

T = TypeVar("T")
ValueKey = tuple[str, str, str, int, str]


class SimReads:
    """A `TotalsStore` and a `History`, and what `Progress` tells, over one server."""

    def __init__(self, turns: Turns, server: ClickHouseServer) -> None:
        self._turns = turns
        self._server = server

    def partition(self, stream: str, partition: int) -> StoredPartition:
        """`TotalsStore.partition`."""
        assert stream == STREAM
        return self._ask(lambda tables: _partition(_rows_of(tables, partition)))

    def units(self, stream: str, partition: int, keys: list[UnitKey]) -> dict[UnitKey, StoredUnit]:
        """`TotalsStore.units`: one query, as there."""
        assert stream == STREAM
        return self._ask(partial(_units, partition, keys), is_hot=True)

    def folds(
        self, stream: str, partition: int, *, since: int, recent: int, rows_max: int
    ) -> pa.Table | None:
        """`TotalsStore.folds`: of each customer at another moment, as the protocol allows."""
        assert stream == STREAM
        customers = self._ask(
            lambda tables: sorted({row.customer for row in _rows_of(tables, partition)})
        )
        rows = [
            row
            for customer in customers
            for row in self._ask(partial(_rows_of_customer, partition, customer), is_hot=True)
        ]
        return folds_of(map(_folded, rows), since=since, recent=recent, rows_max=rows_max)

    def windows(self, stream: str, keys: list[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
        """`TotalsStore.windows`."""
        assert stream == STREAM
        return self._ask(partial(_windows, keys=keys), is_hot=True)

    def owners(self, wanted: list[tuple[str, str, bytes]]) -> dict[bytes, Owner]:
        """`History.owners`."""
        found = self._ask(lambda tables: [tables.raw.get(key) for key in wanted])
        return {entry[0].identity: _owner(entry[0]) for entry in found if entry is not None}

    def copies(
        self, source: Source, *, first_offset: int, next_offset: int
    ) -> set[tuple[int, int]]:
        """`History.copies`: one query."""
        span = range(first_offset, next_offset)
        return self._ask(
            lambda tables: {
                (offset, index)
                for partition, offset, index in (*tables.duplicates, *tables.rejected)
                if partition == source.partition and offset in span
            }
        )

    def counted_values(
        self, wanted: list[ValueKey], dimensions: dict[str, str]
    ) -> dict[ValueKey, Owner]:
        """`History.counted_values`."""
        assert dimensions
        return self._ask(lambda tables: _counted_values(tables, set(wanted)))

    def next_offset(self, stream: str, partition: int) -> int | None:
        """`Progress.next_offset`."""
        assert stream == STREAM
        return self._ask(
            lambda tables: tables.watermarks[partition][1]
            if partition in tables.watermarks else None
        )  # fmt: skip

    def raw(self, condition: Callable[[RawRow, int], bool]) -> list[RawRow]:
        """Rows of raw history, FINAL; the second argument is when a row was inserted."""
        return self._ask(
            lambda tables: [row for row, at_ms in tables.raw.values() if condition(row, at_ms)]
        )

    def raw_tail(self, tail_ms: int) -> list[RawRow]:
        """Rows inserted in the last `tail_ms` before the newest one."""

        def query(tables: Tables) -> list[RawRow]:
            newest_ms = max((at_ms for _, at_ms in tables.raw.values()), default=0)
            return [row for row, at_ms in tables.raw.values() if at_ms >= newest_ms - tail_ms]

        return self._ask(query)

    def newest_record_ms(self) -> int:
        """The greatest record time in raw history."""
        return self._ask(
            lambda tables: max((row.record_ms for row, _ in tables.raw.values()), default=0)
        )

    def recorded_memory(self) -> tuple[str, int] | None:
        """Marker and run of the newest memory."""
        return self._ask(lambda tables: tables.memories[-1] if tables.memories else None)

    def record_memory(self, marker: str, run: int) -> None:
        """Insert into `dedup_memories`."""
        self._ask(lambda tables: tables.memories.append((marker, run)))

    def _ask(self, query: Callable[[Tables], T], *, is_hot: bool = False) -> T:
        def round_trip() -> T:
            if self._turns.strikes("query_refused"):
                raise DependencyDown("clickhouse")
            answer = query(self._server.tables)
            if self._turns.strikes("query_reply_lost"):
                raise DependencyDown("clickhouse")
            return answer

        return self._turns.call(round_trip, is_hot=is_hot)


def _rows_of(tables: Tables, partition: int) -> list[TotalsRow]:
    return [row for row in tables.totals.values() if row.partition == partition]


def _rows_of_customer(partition: int, customer: str, tables: Tables) -> list[TotalsRow]:
    return [row for row in _rows_of(tables, partition) if row.customer == customer]


def _folded(row: TotalsRow) -> Row:
    return Row(row[:3], month_of(row.window * 1_000_000), row.window, _window(row))


def _window(row: TotalsRow) -> StoredWindow:
    return StoredWindow(
        row.units, row.events, row.late, row.first_us, row.last_us, row.last_identity, row.absorbed
    )


def _partition(rows: list[TotalsRow]) -> StoredPartition:
    return StoredPartition(
        max((row.absorbed for row in rows), default=-1),
        max((row.window for row in rows), default=-1),
    )


def _units(partition: int, keys: list[UnitKey], tables: Tables) -> dict[UnitKey, StoredUnit]:
    by_key: dict[UnitKey, list[TotalsRow]] = {}
    for row in _rows_of(tables, partition):
        for key in keys:
            if key[:3] == row[:3] and key.start <= row.window < key.end:
                by_key.setdefault(key, []).append(row)
    return {key: _unit(some) for key, some in by_key.items()}


def _unit(rows: list[TotalsRow]) -> StoredUnit:
    latest = max(rows, key=lambda row: (row.last_us, row.last_identity))
    return StoredUnit(
        max(row.absorbed for row in rows), max(row.window for row in rows),
        sum(row.units for row in rows), max(row.units for row in rows),
        latest.units, latest.last_us, latest.last_identity,
    )  # fmt: skip


def _windows(tables: Tables, *, keys: Iterable[PlacedKey]) -> dict[PlacedKey, StoredWindow]:
    found: dict[PlacedKey, StoredWindow] = {}
    for place in keys:
        row = tables.totals.get((*place.key, place.partition))
        if row is not None:
            found[place] = _window(row)
    return found


def _counted_values(tables: Tables, wanted: set[ValueKey]) -> dict[ValueKey, Owner]:
    best: dict[ValueKey, RawRow] = {}
    for row, _ in tables.raw.values():
        if row.meter != "m_unique" or not row.counted or row.disregarded:
            continue
        key = (row.customer, row.meter, row.group, month_of(row.occurred_us), value_of(row))
        if key in wanted and (key not in best or row.order < best[key].order):
            best[key] = row
    return {key: _owner(row) for key, row in best.items()}


def value_of(row: RawRow) -> str:
    """The counted dimension of a row's dimensions."""
    return row.dimensions[6:-2]


def month_of(occurred_us: int) -> int:
    """Start of the month, Unix seconds."""
    moment = datetime.fromtimestamp(occurred_us // 1_000_000, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())


def _owner(row: RawRow) -> Owner:
    return Owner(STREAM, row.partition, row.offset, row.place, row.digest)
