"""The body of a request, in pieces, whatever its transfer and content encoding."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from io import BufferedIOBase
from typing import Any

import lz4.frame
import zstandard

from deploy.localstack.clickhouse.faults import CANNOT_DECOMPRESS, NOT_IMPLEMENTED, fault

# Large pieces: the cost of handing one to the engine is per piece, not per byte.
PIECE_BYTES = 1 << 20
_HEAD_BYTES = 1 << 18

_Decompress = Callable[[bytes], bytes]


class Body:
    """Reads a request's body once, from the front; pieces are plain (decompressed) bytes."""

    def __init__(self, source: BufferedIOBase, headers: Message) -> None:
        self._raw = _read_raw(source, headers)
        encoding = headers.get("Content-Encoding", "").strip().lower()
        self._pieces = _gather(_decode(self._raw, encoding))

    def head(self) -> bytes:
        """Read the first piece: the whole body when it is short; empty at the end."""
        return next(self._pieces, b"")

    def pieces(self) -> Iterator[bytes]:
        """Read the pieces not read yet, each at most a few MiB."""
        return self._pieces

    def skip(self) -> None:
        """Read the rest for nothing, so that the connection can carry another request."""
        for _ in self._raw:
            pass


def _read_raw(source: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        yield from _read_chunked(source)
        return
    remaining = int(headers.get("Content-Length") or 0)
    while remaining > 0:
        piece = source.read(min(remaining, PIECE_BYTES))
        if not piece:
            message = "the client went away in the middle of its request"
            raise ConnectionResetError(message)
        remaining -= len(piece)
        yield piece


def _read_chunked(source: BufferedIOBase) -> Iterator[bytes]:
    while True:
        size = int(source.readline(1024).split(b";")[0].strip() or b"0", 16)
        if size == 0:
            while source.readline(65_536).strip():
                pass  # trailers, up to the empty line
            return
        chunk = source.read(size)
        if len(chunk) < size:
            message = "the client went away in the middle of a chunk"
            raise ConnectionResetError(message)
        source.readline(16)
        yield chunk


def _gather(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that each is worth a call of the engine."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _HEAD_BYTES:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


def _decode(raw: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in {"", "identity"}:
        yield from raw
        return
    decompress = _decompressor(encoding)
    for piece in raw:
        try:
            plain = decompress(piece)
        except Exception as error:
            # Each library raises its own type for bytes that are not its format.
            raise fault(CANNOT_DECOMPRESS, f"the body is not valid {encoding}: {error}") from error
        if plain:
            yield plain


def _decompressor(encoding: str) -> _Decompress:
    if encoding == "lz4":
        return _Frames(lz4.frame.LZ4FrameDecompressor).decompress
    if encoding == "zstd":
        return _Frames(lambda: zstandard.ZstdDecompressor().decompressobj()).decompress
    if encoding in {"gzip", "deflate"}:
        return _Frames(lambda: zlib.decompressobj(zlib.MAX_WBITS | 32)).decompress
    if encoding == "br":
        return _brotli()
    raise fault(NOT_IMPLEMENTED, f"Unknown Content-Encoding {encoding!r}")


def _brotli() -> _Decompress:
    try:
        brotli = importlib.import_module("brotli")
    except ImportError:
        message = "Content-Encoding br needs the Python package brotli, which is not installed"
        raise fault(NOT_IMPLEMENTED, message) from None
    process: _Decompress = brotli.Decompressor().process
    return process


class _Frames:
    """Decompresses frames that follow one another without a gap, as clients send blocks."""

    def __init__(self, new_frame: Callable[[], Any]) -> None:
        self._new_frame = new_frame
        self._frame = new_frame()

    def decompress(self, data: bytes) -> bytes:
        plain = []
        while data:
            if self._frame.eof:
                self._frame = self._new_frame()
            plain.append(self._frame.decompress(data))
            data = self._frame.unused_data or b"" if self._frame.eof else b""
        return b"".join(plain)
