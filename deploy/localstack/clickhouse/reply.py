"""Answers on the wire: headers of a ClickHouse server, compression, chunks."""

from __future__ import annotations

import importlib.util
import itertools
import json
import secrets
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import lz4.frame
import zstandard

from deploy.localstack.clickhouse.faults import ClickHouseError

_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}
_TEXT = "text/plain; charset=UTF-8"
_BINARY = "application/octet-stream"
_TEXTUAL = ("Pretty", "JSON", "TSV", "TabSeparated", "CSV", "Vertical", "Values", "XML")


@dataclass(frozen=True)
class Summary:
    """The numbers of the X-ClickHouse-Summary header."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def header(self) -> str:
        """Return the value of the header."""
        fields = {**self.__dict__, "total_rows_to_read": 0}
        return json.dumps({key: str(value) for key, value in fields.items()})


@dataclass(frozen=True)
class _Encoder:
    name: str
    compress: Callable[[bytes], bytes]
    finish: Callable[[], bytes]


class Reply:
    """Writes exactly one answer through the handler of a connection."""

    def __init__(self, handler: BaseHTTPRequestHandler, *, timezone: str) -> None:
        self._handler = handler
        self._timezone = timezone
        self.is_started = False
        self._tag = ""
        self._encoder: _Encoder | None = None

    def send(
        self, body: Any, *, format_name: str, query_id: str, accepts: str, summary: Summary
    ) -> None:
        """Send a complete result; `body` is bytes-like, and empty for what returns nothing."""
        headers = self._result_headers(format_name if len(body) else None, query_id)
        headers["X-ClickHouse-Summary"] = summary.header()
        encoder = _choose_encoder(accepts) if len(body) else None
        if encoder is not None:
            body = encoder.compress(body) + encoder.finish()
            headers["Content-Encoding"] = encoder.name
        self._start(HTTPStatus.OK, {**headers, "Content-Length": str(len(body))})
        self._handler.wfile.write(body)

    def stream(
        self, pieces: Iterable[bytes], *, format_name: str, query_id: str, accepts: str
    ) -> None:
        """Send a result in pieces. Headers go out with the first: until then, errors are errors."""
        # Asking for the first piece starts the query: it may raise before anything is sent.
        remaining = iter(pieces)
        first = next(remaining, b"")
        self._start_stream(format_name=format_name, query_id=query_id, accepts=accepts)
        for piece in itertools.chain([first], remaining):
            self._chunk(self._encoder.compress(piece) if self._encoder else piece)
        self._chunk(self._encoder.finish() if self._encoder else b"")
        self._handler.wfile.write(b"0\r\n\r\n")

    def fail(self, failure: ClickHouseError, *, version: str, query_id: str) -> None:
        """Send an error: a status and a text or, when the result has begun, a marked ending."""
        text = f"{failure.text} (version {version})\n".encode()
        if self.is_started:
            self._fail_in_stream(text)
            return
        headers = {
            "X-ClickHouse-Exception-Code": str(failure.code),
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._timezone,
            "Content-Type": _TEXT,
            "Content-Length": str(len(text)),
        }
        if failure.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        self._start(failure.status, headers)
        self._handler.wfile.write(text)

    def say(self, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send a short text outside the query interface."""
        body = text.encode()
        self._start(status, {"Content-Type": _TEXT, "Content-Length": str(len(body))})
        self._handler.wfile.write(body)

    def _fail_in_stream(self, text: bytes) -> None:
        tag = self._tag.encode()
        marked = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (
            tag,
            text,
            len(text),
            tag,
        )
        if self._encoder:
            marked = self._encoder.compress(marked) + self._encoder.finish()
        self._chunk(marked)
        # No closing chunk: a client that ignores the mark still sees a broken answer.
        self._handler.close_connection = True

    def _start_stream(self, *, format_name: str, query_id: str, accepts: str) -> None:
        headers = self._result_headers(format_name, query_id)
        self._tag = secrets.token_hex(8)
        headers["X-ClickHouse-Exception-Tag"] = self._tag
        headers["Transfer-Encoding"] = "chunked"
        self._encoder = _choose_encoder(accepts)
        if self._encoder is not None:
            headers["Content-Encoding"] = self._encoder.name
        self._start(HTTPStatus.OK, headers)

    def _chunk(self, piece: bytes) -> None:
        if piece:
            self._handler.wfile.write(b"%x\r\n" % len(piece))
            self._handler.wfile.write(piece)
            self._handler.wfile.write(b"\r\n")

    def _result_headers(self, format_name: str | None, query_id: str) -> dict[str, str]:
        headers = {
            "Content-Type": _content_type(format_name or "TabSeparated"),
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._timezone,
        }
        # Clients take a format without a body for an empty result, not for "no result".
        return headers | ({"X-ClickHouse-Format": format_name} if format_name else {})

    def _start(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.is_started = True
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._handler.send_header("Connection", "Keep-Alive")
        self._handler.end_headers()


def _content_type(format_name: str) -> str:
    fallback = _TEXT if format_name.startswith(_TEXTUAL) else _BINARY
    return _CONTENT_TYPES.get(format_name, fallback)


def _choose_encoder(accepts: str) -> _Encoder | None:
    """Choose the cheapest accepted encoding: on loopback, bytes cost less than CPU."""
    accepted = {part.split(";")[0].strip().lower() for part in accepts.split(",")}
    if "lz4" in accepted:
        frame = lz4.frame.LZ4FrameCompressor()
        begin = frame.begin()
        return _Encoder("lz4", _with_header(begin, frame.compress), frame.flush)
    if "zstd" in accepted:
        zstd = zstandard.ZstdCompressor(level=1).compressobj()
        return _Encoder("zstd", zstd.compress, zstd.flush)
    if "gzip" in accepted:
        gzip = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        return _Encoder("gzip", gzip.compress, gzip.flush)
    if "deflate" in accepted:
        deflate = zlib.compressobj(1)
        return _Encoder("deflate", deflate.compress, deflate.flush)
    if "br" in accepted and importlib.util.find_spec("brotli"):
        brotli = importlib.import_module("brotli").Compressor(quality=1)
        return _Encoder("br", brotli.process, brotli.finish)
    return None


def _with_header(header: bytes, compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    waiting = [header]

    def compress_after_header(piece: bytes) -> bytes:
        first = waiting.pop() if waiting else b""
        return first + compress(piece)

    return compress_after_header
