"""ClickHouse as the sink, the ledger and the deduplicator use it.

Tables are kept as FINAL shows them: a row of a key is replaced by one of an equal or higher
version. Merges never change that, so none are needed. Inserts may be refused, land without a
reply, land after the reply, land twice, or (several months of raw) land in part.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from metering.decimals import units_of
from metering.errors import DependencyDown
from simulator.turns import Turns
from sinks.rows_ahead import RowsAhead
from sinks.usage_sink import UsageSink

HOUR_US = 3_600_000_000


class RawRow(NamedTuple):
    """A row of `usage_events`."""

    customer: str
    meter: str
    identity: bytes
    group: str
    units: int
    occurred_us: int
    dimensions: str
    partition: int
    offset: int
    place: int  # in the message's array: the column `index`
    record_ms: int
    digest: int
    disregarded: bool
    late: bool
    counted: bool
    before: int

    @property
    def coordinate(self) -> tuple[int, int, int]:
        """Partition, offset, index."""
        return (self.partition, self.offset, self.place)

    @property
    def order(self) -> tuple[int, int, int, int]:
        """The lowest wins: `version` is the complement."""
        return (self.record_ms, self.partition, self.offset, self.place)


class TotalsRow(NamedTuple):
    """A row of `usage_totals`."""

    customer: str
    meter: str
    group: str
    window: int
    partition: int
    units: int
    events: int
    late: int
    first_us: int
    last_us: int
    last_identity: bytes
    absorbed: int


RawKey = tuple[str, str, bytes]
TotalsKey = tuple[str, str, str, int, int]
Coordinate = tuple[int, int, int]


@dataclass(slots=True)
class Tables:
    """All that is stored."""

    raw: dict[RawKey, tuple[RawRow, int]] = field(default_factory=dict)  # and when it came
    totals: dict[TotalsKey, TotalsRow] = field(default_factory=dict)
    duplicates: dict[Coordinate, bytes] = field(default_factory=dict)
    rejected: dict[Coordinate, str] = field(default_factory=dict)
    suppressed: dict[Coordinate, str] = field(default_factory=dict)
    gaps: set[tuple[int, int, int]] = field(default_factory=set)
    watermarks: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    memories: list[tuple[str, int]] = field(default_factory=list)  # marker, run


class ClickHouseServer:
    """One server."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.tables = Tables()
        self.rewritten: list[tuple[RawRow, RawRow]] = []  # same coordinate, other values
        self.totals_are_torn = False
        self.totals_are_added = False

    def insert(self, table: str, rows: list[Any], on_land: Callable[[str], None]) -> None:
        """Store a block, with whatever goes wrong on the way; `on_land` hears when it lands."""

        def land() -> None:
            on_land(table)
            self._apply(table, rows)

        turns = self._turns
        if turns.strikes("insert_refused"):
            raise DependencyDown(table)
        torn = self._torn(table, rows)
        if torn is not None and turns.strikes("insert_torn"):
            on_land(table)
            self._apply(table, torn)
            raise DependencyDown(table)
        if turns.strikes("insert_late"):
            turns.land_later(land)
            raise DependencyDown(table)
        land()
        if turns.strikes("insert_twice"):
            turns.land_later(land)
        if turns.strikes("insert_reply_lost"):
            raise DependencyDown(table)

    def _torn(self, table: str, rows: list[Any]) -> list[Any] | None:
        """Part of a block that may land alone: some of its table partitions."""
        if table == "usage_totals" and self.totals_are_torn and len(rows) > 1:
            return rows[: self._turns.rng.randint(1, len(rows) - 1)]
        if table != "usage_events":
            return None
        by_month: dict[bool, list[Any]] = {}
        for row in rows:
            by_month.setdefault(row.occurred_us >= _APRIL_US, []).append(row)
        if len(by_month) < 2:
            return None
        return by_month[self._turns.rng.random() < 0.5]

    def _apply(self, table: str, rows: list[Any]) -> None:
        getattr(self, f"_put_{table}")(rows)

    def _put_usage_events(self, rows: list[RawRow]) -> None:
        raw, now_ms = self.tables.raw, self._turns.now_ms
        for row in rows:
            key = (row.customer, row.meter, row.identity)
            held = raw.get(key)
            if held is None or row.order <= held[0].order:
                if held is not None and held[0].order == row.order and held[0] != row:
                    self.rewritten.append((held[0], row))
                raw[key] = (row, now_ms)

    def _put_usage_totals(self, rows: list[TotalsRow]) -> None:
        totals = self.tables.totals
        for row in rows:
            held = totals.get(row[:5])
            if held is not None and self.totals_are_added and row.meter not in _NOT_SUMS:
                totals[row[:5]] = _added(held, row)
            elif held is None or row.absorbed >= held.absorbed:
                totals[row[:5]] = row

    def _put_duplicate_events(self, rows: list[tuple[Coordinate, bytes]]) -> None:
        self.tables.duplicates.update(rows)

    def _put_rejected_events(self, rows: list[tuple[Coordinate, str]]) -> None:
        self.tables.rejected.update(rows)

    def _put_suppressed_events(self, rows: list[tuple[Coordinate, str]]) -> None:
        self.tables.suppressed.update(rows)

    def _put_offset_gaps(self, rows: list[tuple[int, int, int]]) -> None:
        self.tables.gaps.update(rows)

    def _put_watermarks(self, rows: list[tuple[int, int, int, int]]) -> None:
        held = self.tables.watermarks
        for partition, first, following, reached in rows:
            a, b, c = held.get(partition, (first, following, reached))
            held[partition] = (min(a, first), max(b, following), max(c, reached))


#: 2026-04-01, the only border of a table partition in a run.
_APRIL_US = 1_775_001_600_000_000


class SimClient:
    """Stands where the sink has a clickhouse-connect client."""

    def __init__(
        self, turns: Turns, server: ClickHouseServer, *, on_send: Callable[[str], None],
        on_land: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Both are called with the table, when an insert is sent and whenever it lands."""
        self._turns = turns
        self._server = server
        self._on_send = on_send
        self._on_land = on_land

    def insert(self, table: str, rows: pa.Table) -> None:
        """One block. Raises `DependencyDown` when it is unknown whether it landed."""

        def round_trip() -> None:
            self._on_send(table)
            self._server.insert(table, _READERS[table](rows.combine_chunks()), self._on_land)

        self._turns.call(round_trip, label=table)


class _NothingIsLost(RowsAhead):
    def require(self) -> None:
        pass


class SimSink(UsageSink):
    """The real sink; only what `insert_arrow` sends goes to the model, which loses no rows."""

    def __init__(self, client: Any, *rest: Any, **named: Any) -> None:
        super().__init__(client, *rest, **named)
        self._ahead = _NothingIsLost(client)

    def _insert(self, table: str, found: pa.Table | None) -> None:
        if found is not None:
            client: Any = self._client
            client.insert(table, found)


def _numbers(rows: pa.Table, name: str) -> list[int]:
    """Integers, also of timestamps, as they are stored."""
    column = _one(rows, name)
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    found: list[int] = column.to_pylist()
    return found


def _one(rows: pa.Table, name: str) -> pa.Array:
    column = rows.column(name)
    assert column.num_chunks == 1
    return column.chunk(0)


def _texts(rows: pa.Table, name: str) -> list[Any]:
    found: list[Any] = _one(rows, name).to_pylist()
    return found


def _raw_rows(rows: pa.Table) -> list[RawRow]:
    columns = [
        _texts(rows, "customer_id"), _texts(rows, "meter"), _texts(rows, "identity"),
        _texts(rows, "group"), units_of(_one(rows, "quantity")), _numbers(rows, "occurred_at"),
        _texts(rows, "dimensions"), _numbers(rows, "partition"), _numbers(rows, "offset"),
        _numbers(rows, "index"), _numbers(rows, "record_time"), _numbers(rows, "digest"),
        _texts(rows, "disregarded"), _texts(rows, "late"), _texts(rows, "counted"),
        units_of(_one(rows, "cumulative_before")),
    ]  # fmt: skip
    return list(map(RawRow, *columns))


def _totals_rows(rows: pa.Table) -> list[TotalsRow]:
    columns = [
        _texts(rows, "customer_id"), _texts(rows, "meter"), _texts(rows, "group"),
        _numbers(rows, "window_start"), _numbers(rows, "partition"),
        units_of(_one(rows, "quantity")), _numbers(rows, "events"),
        _numbers(rows, "late_events"), _numbers(rows, "first_occurred_at"),
        _numbers(rows, "last_occurred_at"), _texts(rows, "last_identity"),
        _numbers(rows, "absorbed_offset"),
    ]  # fmt: skip
    return list(map(TotalsRow, *columns))


def _keyed(rows: pa.Table, name: str) -> list[tuple[Coordinate, Any]]:
    places = zip(*(_numbers(rows, n) for n in ("partition", "offset", "index")), strict=True)
    return list(zip(places, _texts(rows, name), strict=True))


def _tuples(rows: pa.Table, *names: str) -> list[tuple[int, ...]]:
    return list(zip(*(_numbers(rows, name) for name in names), strict=True))


_READERS: dict[str, Callable[[pa.Table], list[Any]]] = {
    "usage_events": _raw_rows,
    "usage_totals": _totals_rows,
    "duplicate_events": lambda rows: _keyed(rows, "identity"),
    "rejected_events": lambda rows: _keyed(rows, "code"),
    "suppressed_events": lambda rows: _keyed(rows, "rule"),
    "offset_gaps": lambda rows: _tuples(rows, "partition", "first_offset", "next_offset"),
    "watermarks": lambda rows: _tuples(
        rows, "partition", "first_offset", "next_offset", "watermark"
    ),
}


_NOT_SUMS = ("m_max", "m_latest")


def _added(held: TotalsRow, row: TotalsRow) -> TotalsRow:
    """What an additive upsert makes of two rows: the planted bug."""
    return held._replace(
        units=held.units + row.units, events=held.events + row.events,
        late=held.late + row.late, absorbed=max(held.absorbed, row.absorbed),
        first_us=min(held.first_us, row.first_us), last_us=max(held.last_us, row.last_us),
        last_identity=row.last_identity,
    )  # fmt: skip
