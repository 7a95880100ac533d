"""Inserts that ClickHouse itself refuses once the right to make them is over.

Whoever bills holds a lease (see `billing_lease.py`) and asks for it right before each write; but a
process may stand still between that question and its write, for longer than the lease lasts, and
come back when somebody else bills. So what makes bills visible is written by a statement that says
until when it may run:

    1  what time it is, by ClickHouse's own clock
    2  the right to write, which lasts so long at least, from a moment after 1
    3  INSERT ... SELECT from the rows that come with it, if it is not later than 1 + 2

ClickHouse looks at its clock when it has all of the rows. No other clock is compared with it, so
none has to agree with it.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from metering.errors import BillingLeaseLost
from sinks.clickhouse import INSERT_SETTINGS, clickhouse_errors, error_code

#: Hears what is to be written; how long that may take, None where nothing limits it. May raise.
BeforeStep = Callable[[str], timedelta | None]
_ROWS = "rows_to_write"
_TABLE = """
SELECT toUnixTimestamp64Milli(now64(3)), groupArray(name), groupArray(type) FROM system.columns
WHERE database = currentDatabase() AND table = %(table)s
"""
_INSERT = """
INSERT INTO {table} ({columns}) SELECT {columns} FROM {rows}
WHERE throwIf(toUnixTimestamp64Milli(now64(3)) > %(until_ms)s, 'too late') = 0
"""
_THROWN = 395
#: Later than any clock: nothing limits the write.
_NEVER_MS = 1 << 62


class _Table(NamedTuple):
    """A table as the server has it, and when it said so (Unix milliseconds, its clock)."""

    now_ms: int
    types: dict[str, str]


def insert_fenced(client: Client, table: str, rows: pa.Table, *, before_step: BeforeStep) -> None:
    """Ask `before_step`, and insert one block in time; durable when this returns.

    Raises `BillingLeaseLost` where ClickHouse got the rows too late, and wrote none of them;
    `DependencyDown` where it is unknown whether they landed.
    """
    known = _table(client, table)
    lasts = before_step(table)
    if rows.num_rows == 0:
        return
    until_ms = _NEVER_MS if lasts is None else known.now_ms + lasts // timedelta(milliseconds=1)
    try:
        write_until(client, table, rows, types=known.types, until_ms=until_ms)
    except DatabaseError as error:
        if error_code(error) != _THROWN:
            raise
        msg = (
            f"expected {table} to be written within {lasts} of asking for the lease to bill, got "
            "it later: this process stood still for too long, and nothing was written. Repeat the "
            "command"
        )
        raise BillingLeaseLost(msg) from error


def write_until(
    client: Client, table: str, rows: pa.Table, *, types: dict[str, str], until_ms: int
) -> None:
    """One block, unless ClickHouse's clock is past `until_ms` when it has the rows."""
    columns = ", ".join(f"`{name}`" for name in rows.column_names)
    sent = ExternalData(
        file_name=_ROWS, data=_stream(rows), fmt="ArrowStream",
        structure=", ".join(f"`{name}` {types[name]}" for name in rows.column_names),
    )  # fmt: skip
    sql = _INSERT.format(table=table, columns=columns, rows=_ROWS)
    with clickhouse_errors(f"inserting {rows.num_rows} rows into {table}"):
        client.command(
            sql, parameters={"until_ms": until_ms}, external_data=sent, settings=INSERT_SETTINGS
        )


def _table(client: Client, table: str) -> _Table:
    with clickhouse_errors(f"asking for the time, and the columns of {table}"):
        now_ms, names, types = client.query(_TABLE, parameters={"table": table}).result_rows[0]
    return _Table(int(now_ms), dict(zip(names, types, strict=True)))


def _stream(rows: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as writer:
        writer.write_table(rows)
    stream: bytes = buffer.getvalue().to_pybytes()
    return stream
