"""The connection to ClickHouse: a client whose every write says how it is to be written.

Server defaults changed between versions (asynchronous inserts, block deduplication), so nothing
is left to them. The client sends an INSERT again by itself when a connection dies after sending;
all tables are keyed, which makes that harmless.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import (
    ClickHouseError,
    DatabaseError,
    OperationalError,
)

from metering.errors import DependencyDown
from metering.settings import Settings

#: For every insert. One insert is one block, so one part, so it lands whole or not at all.
INSERT_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "wait_for_async_insert": 1,
    "insert_deduplicate": 0,
    "optimize_on_insert": 0,  # queries ask for FINAL; folding versions twice costs a third more
    "max_insert_threads": 1,
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 4_000_000_000,
    "max_partitions_per_insert_block": 0,
    "input_format_null_as_default": 1,
}
#: For every query. FINAL has to fold versions across table partitions as well.
QUERY_SETTINGS: dict[str, Any] = {
    "do_not_merge_across_partitions_select_final": 0,
    "join_use_nulls": 0,
    "max_query_size": 64_000_000,
    "max_ast_elements": 10_000_000,
    "max_expanded_ast_elements": 10_000_000,
}
#: Codes that mean "not now": timeouts, memory, too many parts or queries, read-only, network.
_NOT_NOW = (159, 164, 201, 202, 209, 210, 241, 242, 252, 279, 319, 425, 999)
#: Too little space for a part; and what the system says, to which ClickHouse gives several codes.
_NO_SPACE, _NO_SPACE_LEFT = 243, "No space left on device"
#: No such table, no such database: not migrated yet, or emptied.
_NOT_MIGRATED = (60, 81)


def connect_clickhouse(
    settings: Settings, *, database: str | None = "", answer_s: int = 120
) -> Client:
    """A client of the deployment's database ("" means that one; None means no database).

    `answer_s` is how long it waits for an answer: long for a query over all of raw history.

    Raises `DependencyDown` when the server does not answer.
    """
    address = urlsplit(settings.clickhouse_url.get_secret_value())
    with clickhouse_errors("connecting"):
        return clickhouse_connect.get_client(
            host=address.hostname or "127.0.0.1",
            port=address.port or (8443 if address.scheme == "https" else 8123),
            username=unquote(address.username or "default"),
            password=unquote(address.password or ""),
            secure=address.scheme == "https",
            database=settings.database if database == "" else (database or "default"),
            compress=False,
            autogenerate_session_id=False,
            connect_timeout=5,
            send_receive_timeout=answer_s,
            settings=QUERY_SETTINGS,
        )


@contextmanager
def clickhouse_errors(doing: str) -> Iterator[None]:
    """Turn "does not answer" and "not now" into `DependencyDown`; the rest passes as it is."""
    try:
        yield
    except DatabaseError as error:
        code = error_code(error)
        if code in _NOT_MIGRATED:
            msg = (
                f"ClickHouse lacks what `meterline migrate` creates, while {doing}: "
                f"{_first_line(error)}"
            )
            raise DependencyDown(msg) from error
        if code == _NO_SPACE or _NO_SPACE_LEFT in str(error):
            msg = (
                f"ClickHouse has no space left on its disk, while {doing}: {_first_line(error)}. "
                "Nothing is lost; counting goes on when there is space again"
            )
            raise DependencyDown(msg) from error
        if isinstance(error, OperationalError) or code is None or code in _NOT_NOW:
            msg = f"ClickHouse cannot serve now, while {doing}: {_first_line(error)}"
            raise DependencyDown(msg) from error
        raise
    except (ClickHouseError, OSError) as error:
        msg = f"ClickHouse does not answer while {doing}: {_first_line(error)}"
        raise DependencyDown(msg) from error


_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def insert_arrow(client: Client, table: str, rows: pa.Table) -> None:
    """Insert one block, durable when this returns.

    Raises `DependencyDown` when it is unknown whether it landed; the same block may be sent again.
    """
    if rows.num_rows == 0:
        return
    columns = rows.column_names
    with clickhouse_errors(f"inserting {rows.num_rows} rows into {table}"):
        client.raw_insert(
            table, columns, _arrow_stream(rows), settings=INSERT_SETTINGS, fmt="ArrowStream"
        )


def _arrow_stream(rows: pa.Table) -> Generator[Any, None, None]:
    """The rows in Arrow's stream format, a batch at a time; the server joins them to one block.

    One large body would be copied, and its pages touched, once more. A stream also cannot be sent
    again behind the caller's back.
    """
    rows = rows.unify_dictionaries()  # the head of the stream says them once for all batches
    head = pa.BufferOutputStream()
    with pa.ipc.new_stream(head, rows.schema) as writer:
        writer.write_table(rows.slice(0, 1))
    yield memoryview(head.getvalue())[: -len(_END_OF_STREAM)]
    for batch in rows.slice(1).to_batches():
        yield memoryview(batch.serialize())
    yield memoryview(_END_OF_STREAM)


def error_code(error: Exception) -> int | None:
    """ClickHouse's own number of an error, if it says one."""
    _, mark, rest = str(error).partition("Code: ")
    digits = rest.split(".", 1)[0].strip() if mark else ""
    return int(digits) if digits.isdigit() else getattr(error, "code", None)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
