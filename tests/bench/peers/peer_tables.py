"""The tables that peers write, made anew for each run, and what they hold in the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from deployment import Deployment

from loadtest.outcome import Total
from loadtest.peers.deviation import Hour

_COLUMNS = """
    customer_id String, meter LowCardinality(String), id String, quantity Decimal(38, 12),
    occurred_at DateTime64(6, 'UTC'), dimensions String, source LowCardinality(String),
    batch_id String"""
#: As durable as Meterline's own tables.
_DURABLE = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
_EVENTS = f"""
CREATE TABLE peer_events ({_COLUMNS}) ENGINE = MergeTree
PARTITION BY toYYYYMM(occurred_at) ORDER BY (customer_id, meter, id) {_DURABLE}
"""
_SUMS = f"""
CREATE TABLE peer_totals
(
    customer_id String, meter LowCardinality(String), window_start DateTime('UTC'),
    quantity Decimal(38, 12), events UInt64
)
ENGINE = SummingMergeTree ORDER BY (customer_id, meter, window_start) {_DURABLE}
"""
_ADDING = """
CREATE MATERIALIZED VIEW peer_adding TO peer_totals AS
SELECT customer_id, meter, toStartOfHour(occurred_at) AS window_start,
    sum(quantity) AS quantity, count() AS events
FROM peer_events GROUP BY customer_id, meter, window_start
"""
_NEWEST = f"""
CREATE TABLE peer_totals
(
    customer_id String, meter LowCardinality(String), window_start DateTime('UTC'),
    partition UInt32, quantity Decimal(38, 12), events UInt64, version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (customer_id, meter, window_start, partition) {_DURABLE}
"""
_LINES = f"CREATE TABLE peer_lines ({_COLUMNS}) ENGINE = Null"
_PARSING = "CREATE MATERIALIZED VIEW peer_parsing TO peer_events AS SELECT * FROM peer_lines"

_KEYED = f"""
CREATE TABLE peer_events ({_COLUMNS}) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at) ORDER BY (customer_id, meter, id) {_DURABLE}
"""
_DROPPED = (
    "peer_parsing", "peer_adding", "peer_lines", "peer_totals", "peer_events", "plain_events",
)  # fmt: skip
_OF_TOTALS = "SELECT customer_id, meter, window_start, quantity, events FROM peer_totals FINAL"
_OF_ROWS = (
    "SELECT customer_id, meter, toStartOfHour(occurred_at) AS window_start, quantity,"
    " toUInt64(1) AS events FROM "
)


@dataclass(frozen=True)
class Tables:
    """What is made for a peer, where its raw rows are, and a query that its totals come of."""

    statements: tuple[str, ...]
    rows: str = "peer_events"
    totals: str = _OF_TOTALS


#: By what a peer does with totals.
SUMMED = Tables((_EVENTS, _SUMS, _ADDING))
NEWEST = Tables((_EVENTS, _NEWEST))
PARSED = Tables((_EVENTS, _SUMS, _ADDING, _LINES, _PARSING))
KEYED = Tables((_KEYED, _LINES, _PARSING), "peer_events FINAL", f"{_OF_ROWS} peer_events FINAL")
#: A plain flow makes its own, with its running sums in the rows: what they come to is their sum.
OWN = Tables((), "plain_events", f"{_OF_ROWS} plain_events")


class Written(NamedTuple):
    """What a peer's tables hold: totals by hour, raw rows, and how many of these are distinct.

    `totals_s` is how long it took to read all totals.
    """

    hours: dict[Hour, Total]
    rows: int
    distinct: int
    totals_s: float


def make_tables(deployment: Deployment, tables: Tables) -> None:
    """Drop what another run left, and make what this one needs."""
    with deployment.connect() as client:
        for name in _DROPPED:
            client.command(f"DROP TABLE IF EXISTS {name} SYNC")
        for statement in tables.statements:
            client.command(statement)


def rows_written(deployment: Deployment, tables: Tables) -> int:
    """Raw rows so far; 0 while there is no table yet."""
    with deployment.connect() as client:
        if not client.command(f"EXISTS TABLE {tables.rows.split()[0]}"):
            return 0
        return int(client.query(f"SELECT count() FROM {tables.rows}").result_rows[0][0])


def written(deployment: Deployment, tables: Tables) -> Written:
    """Read it all."""
    with deployment.connect() as client:
        began = time.monotonic()
        hours = client.query(
            "SELECT customer_id, meter, toUnixTimestamp(window_start), toString(sum(quantity)),"
            f" sum(events) FROM ({tables.totals}) GROUP BY customer_id, meter, window_start"
        ).result_rows
        seconds = time.monotonic() - began
        rows, distinct = client.query(
            f"SELECT count(), uniqExact(customer_id, meter, id) FROM {tables.rows}"
        ).result_rows[0]
    return Written(
        {Hour(c, m, int(w)): Total(Decimal(q), int(n)) for c, m, w, q, n in hours},
        int(rows), int(distinct), seconds,
    )  # fmt: skip
