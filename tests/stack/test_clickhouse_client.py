"""clickhouse-connect must not notice that this is not a ClickHouse server."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
import lz4.frame
import psutil
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.summary import QuerySummary

from deploy.localstack.stack import LocalStack

Connect = Callable[..., Client]


@contextmanager
def refused(code: int) -> Iterator[None]:
    with pytest.raises(DatabaseError) as caught:
        yield
    assert caught.value.code == code


def test_the_client_learns_version_and_time_zone(client: Client) -> None:
    assert client.ping()
    assert str(client.server_version).split(".")[0].isdigit()
    assert str(client.server_tz) == "UTC"


def test_a_query_returns_typed_rows(client: Client) -> None:
    result = client.query("SELECT number, toString(number) AS text FROM numbers(3)")

    assert result.column_names == ("number", "text")
    assert result.result_rows == [(0, "0"), (1, "1"), (2, "2")]


@pytest.mark.parametrize("form_encode", [False, True])
def test_parameters_are_bound_by_the_server(
    stack: LocalStack, form_encode: bool, connect: Connect
) -> None:
    values = {"text": "it's \\ a\ttab\nline é", "list": [1, 2], "none": None, "name": "numbers"}

    with connect(stack, form_encode_query_params=form_encode) as client:
        result = client.query(
            "SELECT {text:String}, {list:Array(UInt8)}, {none:Nullable(String)} "
            "FROM system.{name:Identifier} LIMIT 1",
            parameters=values,
        )

    assert result.result_rows == [(values["text"], [1, 2], None)]


def test_settings_apply_to_their_request_only(client: Client) -> None:
    ask = "SELECT getSetting('max_execution_time')"

    assert client.query(ask, settings={"max_execution_time": 7}).result_rows == [(7,)]
    assert client.query(ask).result_rows == [(0,)]


def test_the_database_of_the_client_is_the_default_one(client: Client) -> None:
    client.command("CREATE TABLE here (a UInt8) ENGINE = MergeTree ORDER BY a")

    assert client.query("SELECT currentDatabase()").result_rows == [("test",)]
    assert client.query("SELECT count() FROM test.here").result_rows == [(0,)]


def test_an_insert_reports_the_rows_it_wrote(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")

    summary = client.insert("t", [[number, "x"] for number in range(1000)])
    selected = client.command("INSERT INTO t SELECT number, 'y' FROM numbers(500)")

    assert isinstance(selected, QuerySummary)
    assert summary.written_rows == 1000
    assert selected.written_rows == 500
    assert client.query("SELECT count() FROM t").result_rows == [(1500,)]


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
def test_both_directions_can_be_compressed(
    stack: LocalStack, compression: str | bool, connect: Connect
) -> None:
    rows = [[number, f"text {number}" * 5] for number in range(50_000)]
    with connect(stack, compress=compression) as client:
        client.command("CREATE OR REPLACE TABLE c (a UInt32, b String) ENGINE = Memory")
        client.insert("c", rows)

        result = client.query("SELECT * FROM c ORDER BY a")

    assert [list(row) for row in result.result_rows] == rows


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip"])
def test_a_raw_insert_may_be_compressed(client: Client, compression: str) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = Memory")
    encode: dict[str, Callable[[bytes], bytes]] = {
        "lz4": lz4.frame.compress,
        "zstd": zstandard.compress,
        "gzip": gzip.compress,
    }
    data = encode[compression](b"1\n2\n") + encode[compression](b"3\n")

    client.raw_insert("t", ["a"], data, fmt="TSV", compression=compression)

    assert client.query("SELECT sum(a) FROM t").result_rows == [(6,)]


def test_errors_carry_the_codes_of_clickhouse(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")

    with refused(60):
        client.query("SELECT * FROM missing")
    with refused(60):
        client.raw_insert("missing", ["a"], b"1\n", fmt="TSV")
    with refused(16):
        client.raw_insert("t", ["wrong"], b"1\n", fmt="TSV")
    with refused(27):
        client.raw_insert("t", ["a"], b"not a number\n" * 1_000_000, fmt="TSV")
    with refused(47):
        client.query("SELECT wrong FROM t")
    with refused(62):
        client.query("SELECT 1; SELECT 2")
    with refused(81):
        connect_to_missing_database(client)
    with refused(159):
        client.query(
            "SELECT count() FROM numbers(1e12) WHERE sipHash64(number) = 1",
            settings={"max_execution_time": 1},
        )
    with refused(271):
        client.raw_insert("t", ["a"], b"not lz4 at all", fmt="TSV", compression="lz4")
    assert client.query("SELECT count() FROM t").result_rows == [(0,)]


def connect_to_missing_database(client: Client) -> None:
    client.raw_query("SELECT 1", settings={}, use_database=False)
    client.database = "missing"
    try:
        client.query("SELECT 1")
    finally:
        client.database = "test"


def test_an_unknown_user_is_refused(stack: LocalStack) -> None:
    port = stack.service("clickhouse").port
    with refused(516):
        clickhouse_connect.get_client(host="127.0.0.1", port=port, username="bob")


def test_finance_reads_and_cannot_write_or_reach_outside(stack: LocalStack, client: Client) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    client.insert("t", [[1]])
    port = stack.service("clickhouse").port
    finance = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, username="finance", database="test"
    )

    assert finance.query("SELECT a FROM t WHERE a = {a:UInt32}", {"a": 1}).result_rows == [(1,)]
    for statement in (
        "INSERT INTO t VALUES (2)",
        "DROP TABLE t",
        "SET readonly = 0",
        "SELECT * FROM file('/etc/hostname', LineAsString)",
        "CREATE TEMPORARY TABLE x (a UInt8)",
    ):
        with refused(164):
            finance.command(statement)
    with refused(164):
        finance.raw_insert("t", ["a"], b"2\n", fmt="TSV")
    assert client.query("SELECT count() FROM t").result_rows == [(1,)]


def test_a_large_result_streams_without_being_held(stack: LocalStack, client: Client) -> None:
    server = psutil.Process(stack.service("clickhouse").pid)
    client.query("SELECT 1")
    before = server.memory_info().rss

    most = rows = 0
    with client.query_column_block_stream("SELECT number FROM numbers(30000000)") as stream:
        for block in stream:
            rows += len(block[0])
            most = max(most, server.memory_info().rss)

    assert rows == 30_000_000
    assert most - before < 120 << 20, "240 MB of result must not be held"


def test_an_error_in_the_middle_of_a_stream_reaches_the_reader(client: Client) -> None:
    query = "SELECT throwIf(number = 2000000, 'broken') FROM numbers(3000000)"

    with (
        pytest.raises(StreamFailureError, match="broken"),
        client.query_row_block_stream(query) as stream,
    ):
        for _ in stream:
            pass


def test_an_external_table_can_be_joined(client: Client) -> None:
    external = ExternalData(
        file_name="prices.csv", data=b"1,a\n2,b\n", fmt="CSV", structure=["k Int32", "v String"]
    )

    result = client.query("SELECT v FROM prices WHERE k = 2", external_data=external)

    assert result.result_rows == [("b",)]


def test_statements_that_describe_return_their_text(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")

    assert "ENGINE = MergeTree" in str(client.command("SHOW CREATE TABLE t"))
    assert client.query("DESCRIBE TABLE t").result_rows[0][:2] == ("a", "UInt8")
    assert client.command("EXISTS TABLE t") == 1
    assert "ReadFrom" in str(client.command("EXPLAIN SELECT 1"))


def test_arrow_comes_back(client: Client) -> None:
    table = client.query_arrow("SELECT number AS a FROM numbers(3)")

    assert table.to_pydict() == {"a": [0, 1, 2]}


def test_a_long_select_does_not_block_inserts(
    stack: LocalStack, client: Client, connect: Connect
) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    began = threading.Event()

    def select_slowly() -> None:
        with connect(stack) as other:
            began.set()
            other.query("SELECT sleepEachRow(1) FROM numbers(2) SETTINGS max_block_size = 1")

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(select_slowly)
        began.wait()
        time.sleep(0.2)
        started = time.monotonic()
        for number in range(10):
            client.insert("t", [[number]])
        waited = time.monotonic() - started
        assert not slow.done()
        slow.result()

    assert waited < 1


def test_eight_clients_read_and_write_at_once(
    stack: LocalStack, client: Client, connect: Connect
) -> None:
    client.command("CREATE TABLE t (worker UInt8, n UInt32) ENGINE = MergeTree ORDER BY n")
    batches, size = 10, 2_000

    def work(worker: int) -> list[int]:
        with connect(stack, database="test") as own:
            seen = []
            for batch in range(batches):
                own.insert_arrow("t", numbered(worker, start=batch * size, count=size))
                found = own.query(
                    "SELECT count() FROM t WHERE worker = {w:UInt8}", {"w": worker}
                ).result_rows
                seen.append(found[0][0])
            return seen

    with ThreadPoolExecutor(8) as pool:
        for seen in pool.map(work, range(8)):
            assert seen == [size * (batch + 1) for batch in range(batches)]

    total = client.query("SELECT count(), uniqExact(worker, n) FROM t").result_rows
    assert total == [(8 * batches * size, 8 * batches * size)]


def numbered(worker: int, *, start: int, count: int) -> pa.Table:
    numbers: Any = pa.array(range(start, start + count), pa.uint32())
    return pa.table({"worker": pa.array([worker] * count, pa.uint8()), "n": numbers})


def test_parts_are_merged_in_the_background(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    for number in range(20):
        client.insert("t", [[number]])

    ask = "SELECT count() FROM system.parts WHERE database = 'test' AND table = 't' AND active"
    deadline = time.monotonic() + 20
    while client.query(ask).result_rows[0][0] >= 10 and time.monotonic() < deadline:
        time.sleep(0.2)

    assert client.query(ask).result_rows[0][0] < 10
    assert client.query("SELECT count() FROM t").result_rows == [(20,)]


def test_tables_are_flushed_to_disk_at_each_insert_by_default(client: Client) -> None:
    found = client.query(
        "SELECT name, value FROM system.merge_tree_settings "
        "WHERE name IN ('fsync_after_insert', 'fsync_part_directory') ORDER BY name"
    )

    assert found.result_rows == [("fsync_after_insert", "1"), ("fsync_part_directory", "1")]


def test_a_repeated_block_is_written_once_where_the_table_remembers_blocks(
    client: Client,
) -> None:
    client.command(
        "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    for _ in range(2):
        client.insert("t", [[1]], settings={"insert_deduplication_token": "segment-1"})

    assert client.query("SELECT count() FROM t").result_rows == [(1,)]
