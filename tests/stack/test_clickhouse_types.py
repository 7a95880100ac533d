from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

COLUMNS = """
    identity UInt128, raw FixedString(16), quantity Decimal(76, 12), price Decimal(38, 12),
    at DateTime64(6, 'UTC'), meter LowCardinality(String), note Nullable(String),
    tags Array(String), dimensions Map(String, String), day Date, flag Bool
"""
BIG = Decimal("1234567890123456789012345678901234567890123456789012345678901234.123456789012")
AT = datetime(2026, 6, 12, 7, 18, 59, 123456, tzinfo=UTC)
ROW = (
    2**128 - 1,
    bytes(range(16)),
    BIG,
    Decimal("-0.000000000001"),
    AT,
    "api_requests",
    None,
    ["a", "é"],
    {"region": "eu"},
    AT.date(),
    True,
)


@pytest.fixture
def table(client: Client) -> str:
    client.command(f"CREATE TABLE typed ({COLUMNS}) ENGINE = MergeTree ORDER BY identity")
    return "typed"


def read_back(client: Client) -> tuple[object, ...]:
    (row,) = client.query("SELECT * FROM typed", tz_mode="aware").result_rows
    return tuple(row)


def test_every_type_we_use_comes_back_from_a_native_insert(client: Client, table: str) -> None:
    client.insert(table, [ROW])

    assert read_back(client) == ROW


def as_arrow() -> pa.Table:
    # ClickHouse keeps integers little-endian: so must sixteen bytes that become one.
    identity = int(ROW[0]).to_bytes(16, "little")
    return pa.table(
        {
            "identity": pa.array([identity], pa.binary(16)),
            "raw": pa.array([ROW[1]], pa.binary(16)),
            "quantity": pa.array([ROW[2]], pa.decimal256(76, 12)),
            "price": pa.array([ROW[3]], pa.decimal128(38, 12)),
            "at": pa.array([ROW[4]], pa.timestamp("us", tz="UTC")),
            "meter": pa.array([ROW[5]]).dictionary_encode(),
            "note": pa.array([ROW[6]], pa.string()),
            "tags": pa.array([ROW[7]], pa.list_(pa.string())),
            "dimensions": pa.array([[("region", "eu")]], pa.map_(pa.string(), pa.string())),
            "day": pa.array([ROW[9]], pa.date32()),
            "flag": pa.array([ROW[10]], pa.bool_()),
        }
    )


def test_every_type_we_use_comes_back_from_an_arrow_insert(client: Client, table: str) -> None:
    client.insert_arrow(table, as_arrow())

    assert read_back(client) == ROW


@pytest.mark.parametrize("buffers", [None, "lz4", "zstd"])
def test_every_type_we_use_comes_back_from_an_arrow_stream(
    client: Client, table: str, buffers: str | None
) -> None:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=buffers)
    with pa.ipc.new_stream(sink, as_arrow().schema, options=options) as writer:
        writer.write_table(as_arrow())

    client.raw_insert(table, insert_block=bytes(sink.getvalue()), fmt="ArrowStream")

    assert read_back(client) == ROW


def test_the_little_endian_identity_is_the_same_number_in_both_ways(
    client: Client, table: str
) -> None:
    arrow = as_arrow().set_column(0, "identity", pa.array([b"\x01" + bytes(15)], pa.binary(16)))

    client.insert_arrow(table, arrow)

    assert client.query("SELECT identity FROM typed").result_rows == [(1,)]
