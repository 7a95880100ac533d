"""The wire itself, for programs that are not clickhouse-connect."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from clickhouse_connect.driver.client import Client

from deploy.localstack.stack import LocalStack


@pytest.fixture
def wire(stack: LocalStack) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", stack.service("clickhouse").port)
    yield connection
    connection.close()


def ask(
    wire: http.client.HTTPConnection,
    target: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    wire.request(method, target, body=body, headers=headers or {})  # type: ignore[arg-type]
    response = wire.getresponse()
    return response.status, response.headers, response.read()


def test_the_health_pages_answer(wire: http.client.HTTPConnection) -> None:
    for target in ("/ping", "/replicas_status", "/"):
        status, _, body = ask(wire, target)
        assert (status, body) == (200, b"Ok.\n")


def test_an_unknown_page_is_not_found(wire: http.client.HTTPConnection) -> None:
    assert ask(wire, "/nothing")[0] == 404


def test_a_query_in_the_url_answers_with_the_headers_of_clickhouse(
    wire: http.client.HTTPConnection,
) -> None:
    target = "/?" + urlencode({"query": "SELECT 1 AS x", "query_id": "mine"})
    status, headers, body = ask(wire, target)

    assert (status, body) == (200, b"1\n")
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Format"] == "TabSeparated"
    assert headers["X-ClickHouse-Timezone"] == "UTC"
    assert headers["Content-Type"].startswith("text/tab-separated-values")


def test_the_query_may_begin_in_the_url_and_go_on_in_the_body(
    wire: http.client.HTTPConnection,
) -> None:
    target = "/?" + urlencode({"query": "SELECT 1,", "default_format": "JSONEachRow"})
    status, _, body = ask(wire, target, method="POST", body=b"2 AS two")

    assert status == 200
    assert json.loads(body) == {"1": 1, "two": 2}


def test_an_error_has_its_status_its_code_and_its_name(wire: http.client.HTTPConnection) -> None:
    expected = {
        "SELECT * FROM missing": (404, "60", b"(UNKNOWN_TABLE) (version "),
        "SELECT (": (400, "62", b"(SYNTAX_ERROR) (version "),
        "SELECT throwIf(1)": (500, "395", b"(FUNCTION_THROW_IF_VALUE_IS_NON_ZERO) (version "),
    }
    for query, (status_expected, code, ending) in expected.items():
        status, headers, body = ask(wire, "/", method="POST", body=query)
        assert status == status_expected
        assert headers["X-ClickHouse-Exception-Code"] == code
        assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
        assert ending in body
    assert ask(wire, "/ping")[0] == 200, "the connection must stay usable after errors"


def test_get_requests_cannot_write(wire: http.client.HTTPConnection, client: Client) -> None:
    client.command("CREATE TABLE t (a UInt8) ENGINE = Memory")

    status, headers, _ = ask(wire, "/?" + urlencode({"query": "INSERT INTO test.t VALUES (1)"}))

    assert status == 500
    assert headers["X-ClickHouse-Exception-Code"] == "164"


def test_a_body_in_many_small_chunks_is_one_insert(
    wire: http.client.HTTPConnection, client: Client
) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    target = "/?" + urlencode({"query": "INSERT INTO t FORMAT CSV", "database": "test"})

    status, headers, _ = ask(
        wire, target, method="POST", body=(b"%d\n" % number for number in range(20_000))
    )

    assert status == 200
    assert json.loads(headers["X-ClickHouse-Summary"])["written_rows"] == "20000"
    parts = "SELECT count(), sum(rows) FROM system.parts WHERE table = 't' AND database = 'test'"
    assert client.query(parts).result_rows == [(1, 20_000)]


def test_an_insert_cut_short_by_its_client_writes_nothing(
    stack: LocalStack, client: Client
) -> None:
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    cut = http.client.HTTPConnection("127.0.0.1", stack.service("clickhouse").port)
    query = urlencode({"query": "INSERT INTO t FORMAT CSV", "database": "test"})
    cut.putrequest("POST", f"/?{query}")
    cut.putheader("Content-Length", "1000000")
    cut.endheaders(b"1\n2\n3\n")
    cut.close()

    client.insert("t", [[9]])

    assert client.query("SELECT a FROM t").result_rows == [(9,)]


@pytest.mark.parametrize("user", ["", "bob"])
def test_users_come_from_basic_headers_and_url(wire: http.client.HTTPConnection, user: str) -> None:
    name = user or "finance"
    expected = 403 if user else 200

    assert ask(wire, f"/?query=SELECT+1&user={name}")[0] == expected
    assert ask(wire, "/?query=SELECT+1", headers={"X-ClickHouse-User": name})[0] == expected


def test_an_unknown_setting_is_refused(wire: http.client.HTTPConnection) -> None:
    status, headers, _ = ask(wire, "/?query=SELECT+1&no_such_setting=1")

    assert (status, headers["X-ClickHouse-Exception-Code"]) == (404, "115")
