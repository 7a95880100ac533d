"""Just enough reading of SQL to serve it: where an INSERT's data begins, which format is asked.

The engine parses every statement itself; here we only look for the few words that decide how
it is handed over. Quoted text and comments are never mistaken for those words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.localstack.clickhouse.faults import NOT_IMPLEMENTED, SYNTAX_ERROR, fault

_TOKEN = re.compile(
    rb"""
      (?P<skip>   \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> [0-9][0-9A-Za-z_.]* )
    | (?P<sign>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_BEFORE_DATA = re.compile(rb";?[ \t\f]*\r?\n?")
_SELECTS = frozenset({b"SELECT", b"WITH"})


@dataclass(frozen=True)
class InsertData:
    """`INSERT INTO t (a, b) FORMAT X` followed by data.

    `sql` ends before FORMAT; the data begins at `data_start`, a position in bytes.
    """

    sql: str
    format_name: str
    data_start: int


@dataclass(frozen=True)
class Statement:
    """Any other statement: `format_name` is what its own FORMAT clause asks, if any."""

    is_select: bool
    format_name: str | None


def find_insert_data(head: bytes) -> InsertData | None:
    """Find the INSERT that `head` begins with, if data in a named format follows it.

    `head` is the beginning of the statement, with at least everything before the data.
    Raises ClickHouseError for INSERT ... SELECT ... FROM input() FORMAT, which the embedded
    engine cannot stream.
    """
    tokens = _significant(head)
    first = next(tokens, None)
    if first is None or _upper(first) != b"INSERT":
        return None
    depth = 0
    selects = False
    for token in tokens:
        depth += _nesting(token)
        word = _upper(token) if depth == 0 else None
        if word in {b"VALUES", b"INFILE"}:
            return None
        if word == b"INPUT" and selects:
            raise fault(NOT_IMPLEMENTED, "INSERT ... SELECT ... FROM input() is not supported here")
        if word in {b"SELECT", b"WITH"}:
            selects = True
        if word == b"FORMAT" and not selects:
            return _insert_before(head, token, name=next(tokens, None))
    return None


def examine(sql: bytes) -> Statement:
    """Tell what a complete statement is. Raises ClickHouseError when it is more than one."""
    first: bytes | None = None
    previous: bytes | None = None
    format_name: str | None = None
    is_ended = in_settings = False
    for token in _significant(sql):
        if is_ended:
            raise fault(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
        word = _upper(token)
        if first is None and word is not None:
            first = word
            if word == b"INSERT":  # its values may be long, and it has no format
                return Statement(is_select=False, format_name=None)
        is_ended = token.group() == b";"
        if format_name is None and previous == b"FORMAT" and word is not None:
            format_name = token.group().decode()
        elif format_name is not None and not (is_ended or in_settings):
            # Only SETTINGS may follow the clause: otherwise it was a column of that name.
            in_settings = word == b"SETTINGS"
            format_name = format_name if in_settings else None
        previous = word
    return Statement(is_select=first in _SELECTS, format_name=format_name)


def _insert_before(
    head: bytes, token: re.Match[bytes], *, name: re.Match[bytes] | None
) -> InsertData | None:
    if name is None or _upper(name) in {None, b"VALUES"}:
        return None
    data = _BEFORE_DATA.match(head, name.end())
    assert data is not None, "the pattern matches the empty string"
    return InsertData(head[: token.start()].decode(), name.group().decode(), data.end())


def _significant(text: bytes) -> Iterator[re.Match[bytes]]:
    return (token for token in _TOKEN.finditer(text) if token.lastgroup != "skip")


def _upper(token: re.Match[bytes]) -> bytes | None:
    return token.group().upper() if token.lastgroup == "word" else None


def _nesting(token: re.Match[bytes]) -> int:
    return {b"(": 1, b")": -1}.get(token.group(), 0)
