"""Runs one request in its session and answers it."""

from __future__ import annotations

import contextlib
import time

from deploy.localstack.clickhouse.body import Body
from deploy.localstack.clickhouse.engine import Session, Written
from deploy.localstack.clickhouse.faults import QUERY_IS_TOO_LARGE, SYNTAX_ERROR, fault
from deploy.localstack.clickhouse.reply import Reply, Summary
from deploy.localstack.clickhouse.request import Request
from deploy.localstack.clickhouse.statement import InsertData, examine, find_insert_data

# A statement without data is held whole; an INSERT's data is not.
_STATEMENT_BYTES_MAX = 256 << 20
# Blocks in these formats can be sent one after the other; others have a frame around all.
_STREAMABLE = frozenset(
    {"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow", "JSONCompactEachRow"}
)


def execute(session: Session, request: Request, *, body: Body, reply: Reply) -> None:
    """Run the request's query, which may begin in the URL and continue in the body.

    Raises ClickHouseError; whether the answer has begun by then, `reply` knows.
    """
    head = body.head()
    text = b"\n".join(part for part in (request.query.encode(), head) if part)
    if not text:
        reply.say("Ok.\n")
        return
    insert = find_insert_data(text)
    if insert is None:
        _run_statement(session, text + read_all(body), request=request, reply=reply)
        return
    begun = time.monotonic_ns()
    written = _insert(session, insert, head=text, body=body)
    reply.send(
        b"",
        format_name=request.default_format,
        query_id=request.query_id,
        accepts="",
        summary=_write_summary(written.rows_written, written.bytes_written, begun=begun),
    )


def read_all(body: Body) -> bytes:
    """Read what is left of the body. Raises ClickHouseError when that is too much to hold."""
    pieces = []
    size = 0
    for piece in body.pieces():
        size += len(piece)
        if size > _STATEMENT_BYTES_MAX:
            sentence = f"the statement exceeds {_STATEMENT_BYTES_MAX} bytes: send data with FORMAT"
            raise fault(QUERY_IS_TOO_LARGE, sentence)
        pieces.append(piece)
    return b"".join(pieces)


def _insert(session: Session, insert: InsertData, *, head: bytes, body: Body) -> Written:
    """Feed the data to the engine as it arrives; when this returns, it is on disk."""
    with session.insert(insert.sql, insert.format_name) as inserter:
        first = head[insert.data_start :]
        if first:
            inserter.append(first)
        for piece in body.pieces():
            inserter.append(piece)
        return inserter.finish()


def _run_statement(session: Session, text: bytes, *, request: Request, reply: Reply) -> None:
    statement = examine(text)
    sql = _decode(text)
    format_name = statement.format_name or request.default_format
    if statement.is_select and format_name in _STREAMABLE and not request.waits_for_end:
        with contextlib.closing(session.stream(sql, format_name)) as blocks:
            reply.stream(
                blocks,
                format_name=format_name,
                query_id=request.query_id,
                accepts=request.accepts,
            )
        return
    begun = time.monotonic_ns()
    result = session.run(sql, format_name)
    written = result.rows_written()
    reply.send(
        result.get_memview().view(),
        format_name=format_name,
        query_id=request.query_id,
        accepts=request.accepts,
        summary=_write_summary(written, result.bytes_written(), begun=begun)
        if written
        else Summary(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            result_rows=result.rows_read(),
            result_bytes=result.size(),
            elapsed_ns=time.monotonic_ns() - begun,
        ),
    )


def _write_summary(rows: int, size: int, *, begun: int) -> Summary:
    return Summary(
        read_rows=rows,
        read_bytes=size,
        written_rows=rows,
        written_bytes=size,
        result_rows=rows,
        result_bytes=size,
        elapsed_ns=time.monotonic_ns() - begun,
    )


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise fault(SYNTAX_ERROR, f"the statement is not UTF-8: {error}") from error
