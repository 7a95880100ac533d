from __future__ import annotations

import pytest

from deploy.localstack.clickhouse.faults import ClickHouseError
from deploy.localstack.clickhouse.statement import (
    InsertData,
    Statement,
    examine,
    find_insert_data,
)


@pytest.mark.parametrize(
    ("head", "sql", "format_name", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x02", "INSERT INTO t ", "Native", b"\x01\x02"),
        (b"insert into t (a, b) format CSV\r\n1,2\n", "insert into t (a, b) ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT TSV\n\n1\n", "INSERT INTO t ", "TSV", b"\n1\n"),
        (b"INSERT INTO t FORMAT CSV", "INSERT INTO t ", "CSV", b""),
        (
            b"INSERT INTO t SETTINGS a = 'FORMAT x' FORMAT CSV\n1",
            "INSERT INTO t SETTINGS a = 'FORMAT x' ",
            "CSV",
            b"1",
        ),
        (
            b"/* FORMAT A */ INSERT INTO `FORMAT B` (`FORMAT C`) -- FORMAT D\n FORMAT E\nx",
            "/* FORMAT A */ INSERT INTO `FORMAT B` (`FORMAT C`) -- FORMAT D\n ",
            "E",
            b"x",
        ),
        (b"INSERT INTO t (format, a) FORMAT CSV\nx", "INSERT INTO t (format, a) ", "CSV", b"x"),
        (b"INSERT INTO t FORMAT JSONEachRow {}", "INSERT INTO t ", "JSONEachRow", b"{}"),
    ],
)
def test_the_data_of_an_insert_begins_after_its_format(
    head: bytes, sql: str, format_name: str, data: bytes
) -> None:
    found = find_insert_data(head)

    assert found == InsertData(sql, format_name, len(head) - len(data))


@pytest.mark.parametrize(
    "head",
    [
        b"SELECT 1 FORMAT Native",
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t FORMAT Values (1)",
        b"INSERT INTO t SELECT a AS format FROM u",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"",
    ],
)
def test_other_statements_have_no_data(head: bytes) -> None:
    assert find_insert_data(head) is None


def test_an_insert_that_selects_from_its_data_is_refused() -> None:
    with pytest.raises(ClickHouseError) as caught:
        find_insert_data(b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1")

    assert caught.value.code == 48


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT 1", Statement(is_select=True, format_name=None)),
        (b"select 1 format JSON ;", Statement(is_select=True, format_name="JSON")),
        (b"(SELECT 1) FORMAT CSV", Statement(is_select=True, format_name="CSV")),
        (b"SELECT 1 FORMAT CSV SETTINGS a = 1", Statement(is_select=True, format_name="CSV")),
        (b"SELECT format AS f", Statement(is_select=True, format_name=None)),
        (b"SELECT 'FORMAT CSV' -- FORMAT X", Statement(is_select=True, format_name=None)),
        (b"CREATE TABLE t (a Int8)", Statement(is_select=False, format_name=None)),
        (b"INSERT INTO t VALUES (';')", Statement(is_select=False, format_name=None)),
    ],
)
def test_the_format_of_a_statement_is_its_last_clause(sql: bytes, expected: Statement) -> None:
    assert examine(sql) == expected


def test_two_statements_in_one_request_are_refused() -> None:
    with pytest.raises(ClickHouseError, match="Multi-statements"):
        examine(b"SELECT 1; DROP TABLE t")
