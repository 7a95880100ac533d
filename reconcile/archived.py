"""Raw history as the archive has it, in a table of the run's own: a source beside `usage_events`.

    archive -> events, decoded anew          by the catalog as it is now
            -> period, part and rate card    as `OwnPeriods` and `rate_cards` say
            -> table `reconcile_scratch_...` where the first writer of an identity wins

Nothing of it comes from what workers stored; so what was changed in ClickHouse alone, in raw
history, totals and invoices alike, shows. Two things the archive cannot say are taken from
ClickHouse: events that it does not hold yet (they are counted, and told), and which messages were
refused when they came (`rejected_events`), as some of them would be accepted now.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from metering.batch import EventBatch
from reconcile.cards import Card
from reconcile.own_periods import OwnPart, OwnPeriods
from reconcile.store import WRITE_SETTINGS

_SECOND_US = 1_000_000
_ROWS_AT_ONCE = 200_000
#: Places that are remembered; full, it starts again.
_KEPT_MAX = 500_000
_PREFIX = "reconcile_scratch_"
_CREATE = """CREATE TABLE {table} AS usage_events ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(occurred_at) ORDER BY (customer_id, meter, identity)"""
#: Left by runs that were killed.
_ABANDONED = f"""SELECT name FROM system.tables WHERE database = currentDatabase()
AND startsWith(name, '{_PREFIX}') AND metadata_modification_time < now() - INTERVAL 1 DAY"""
_COLUMNS = """customer_id, meter, identity, `group`, id, subject, quantity, occurred_at, dimensions,
source, batch_id, schema_version, stream, partition, offset, `index`, record_time, disregarded,
part_start, period_start, card, digest"""
_LATER = f"""
INSERT INTO {{table}} ({_COLUMNS})
SELECT e.* FROM (SELECT {_COLUMNS} FROM usage_events) AS e LEFT JOIN
(
    SELECT place.1 AS stream, place.2 AS partition, place.3 AS archived_to FROM
    (SELECT arrayJoin(arrayZip(%(streams)s, %(partitions)s, %(ends)s)) AS place)
) AS a ON a.stream = e.stream AND a.partition = e.partition
WHERE e.offset >= a.archived_to
"""
_COUNT_LATER = "SELECT count() FROM {table}"
_PLACE = "stream, partition, offset, `index`"
_REFUSED = f"""ALTER TABLE {{table}} DELETE WHERE ({_PLACE}) IN
(SELECT {_PLACE} FROM rejected_events) AND ({_PLACE}) NOT IN (SELECT {_PLACE} FROM usage_events)
SETTINGS mutations_sync = 2"""
_HAS_REFUSED = "SELECT count() > 0 FROM (SELECT 1 FROM rejected_events LIMIT 1)"

#: Cards by plan, meter and group (`card_versions`).
Versions = Mapping[tuple[str, str, str], Sequence[Card]]


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive at `uri`: all of its events, decoded, and one past the last offset of each log.

    `events` is called once. Raises what reading raises.
    """

    uri: str
    events: Callable[[], Iterator[EventBatch]]
    ends: Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The table, how many events the archive gave, and how many came from raw history."""

    table: str
    events: int
    not_archived: int


@contextmanager
def loaded(
    client: Client, archive: Archive, *, own: OwnPeriods, versions: Versions,
    say: Callable[[int], None],
) -> Iterator[Loaded]:  # fmt: skip
    """The archive as a table, dropped in the end; `say` hears how many events are read."""
    for (name,) in client.query(_ABANDONED).result_rows:
        client.command(f"DROP TABLE IF EXISTS {name}")
    table = f"{_PREFIX}{uuid.uuid4().hex[:12]}"
    client.command(_CREATE.format(table=table))
    try:
        count = _load(client, table, archive=archive, place=_Places(own, versions), say=say)
        if client.query(_HAS_REFUSED).result_rows[0][0]:
            client.command(_REFUSED.format(table=table))
        before = _rows(client, table)
        client.command(_LATER.format(table=table), parameters=_ends(archive.ends))
        yield Loaded(table, count, _rows(client, table) - before)
    finally:
        client.command(f"DROP TABLE IF EXISTS {table}")


def _ends(ends: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    return {
        "streams": [stream for stream, _ in ends], "partitions": [number for _, number in ends],
        "ends": list(ends.values()),
    }  # fmt: skip


def _rows(client: Client, table: str) -> int:
    return int(client.query(_COUNT_LATER.format(table=table)).result_rows[0][0])


def _load(
    client: Client, table: str, *, archive: Archive, place: "_Places", say: Callable[[int], None]
) -> int:
    count, waiting = 0, []
    for batch in archive.events():
        if len(batch):
            waiting.append(place.placed(batch))
            count += len(batch)
        if sum(each.num_rows for each in waiting) >= _ROWS_AT_ONCE:
            client.insert_arrow(table, pa.concat_tables(waiting), settings=WRITE_SETTINGS)
            waiting = []
            say(count)
    if waiting:
        client.insert_arrow(table, pa.concat_tables(waiting), settings=WRITE_SETTINGS)
    say(count)
    return count


class _Places:
    """Period, part and rate card of events; remembers what it found for a customer and meter."""

    def __init__(self, own: OwnPeriods, versions: Versions) -> None:
        self._own = own
        self._versions = versions
        self._kept: dict[tuple[str, str], tuple[int, int, OwnPart]] = {}

    def placed(self, batch: EventBatch) -> pa.Table:
        """The events of a batch with all columns that a reconciliation reads."""
        columns = batch.columns
        customers = columns.column("customer_id").to_pylist()
        seconds = (batch.occurred_us // _SECOND_US).tolist()
        rows = np.array(
            [
                self._place(customer, batch.series[code], second=second)
                for customer, code, second in zip(
                    customers, batch.codes.tolist(), seconds, strict=True
                )
            ],
            np.uint64,
        ).reshape(-1, 3)
        source = batch.source
        return pa.Table.from_batches([columns]).append_column(
            "stream", pa.array([source.stream] * len(batch), pa.string())
        ).append_column(
            "partition", pa.array(np.full(len(batch), source.partition, np.uint32))
        ).append_column(
            "period_start", pa.array(rows[:, 0].astype(np.uint32))
        ).append_column(
            "part_start", pa.array(rows[:, 1].astype(np.uint32))
        ).append_column("card", pa.array(rows[:, 2]))  # fmt: skip

    def _place(
        self, customer: str, series: tuple[str, str], *, second: int
    ) -> tuple[int, int, int]:
        meter, group = series
        held = self._kept.get((customer, meter))
        if held is None or not held[2].start <= second < held[2].end:
            period = self._own.holding(customer, second)
            parts = self._own.parts(customer, meter, period=period)
            part = next(each for each in parts if each.start <= second < each.end)
            if len(self._kept) >= _KEPT_MAX:
                self._kept = {}
            held = self._kept[customer, meter] = (period.start, period.end, part)
        start, end, part = held
        return start, part.start, self._card(part, (meter, group), period=(start, end))

    def _card(self, part: OwnPart, series: tuple[str, str], *, period: tuple[int, int]) -> int:
        """The rate card of a part's price version; of several the one for its share of time."""
        cards = [
            each
            for each in self._versions.get((part.plan, *series), ())
            if each.price_version == part.price_version
        ]
        if len(cards) > 1:
            begins, ends = part.start - period[0], part.end - period[0]
            length = period[1] - period[0]
            shares = {(0, 1, 1), tuple(each * _SECOND_US for each in (begins, ends, length))}
            cards = [each for each in cards if each.held in shares] or cards
        return max((each.number for each in cards), default=0)
