"""Claims as plain commands of the Redis protocol, many at once, and what comes back.

A claim of the packed form (`claim_packing`) becomes one `HSETNX bucket field value`, or one
`HGET bucket field`. All commands of a call have the same length, so they are laid out as columns.
"""

import numpy as np
from numpy.typing import NDArray

from metering.claim_packing import BUCKET_BYTES, CLAIM_BYTES, FIELD_BYTES, VALUE_BYTES
from metering.compiled import compiled

_FIELD_AT = BUCKET_BYTES
_VALUE_AT = BUCKET_BYTES + FIELD_BYTES
_DOLLAR, _NULL, _NEWLINE, _MINUS, _ZERO = ord("$"), ord("_"), ord("\n"), ord("-"), ord("0")
_LINE_END = 2


def put_commands(packed: NDArray[np.void], prefix: bytes) -> bytes:
    """`HSETNX <prefix><bucket> <field> <value>` for each claim."""
    claims = _bytes_of(packed)
    head = b"*4\r\n$6\r\nHSETNX\r\n$%d\r\n%s" % (len(prefix) + BUCKET_BYTES, prefix)
    return _laid_out(
        [head, claims[:, :_FIELD_AT], b"\r\n$%d\r\n" % FIELD_BYTES, claims[:, _FIELD_AT:_VALUE_AT],
         b"\r\n$%d\r\n" % VALUE_BYTES, claims[:, _VALUE_AT:], b"\r\n"],
        len(claims),
    )  # fmt: skip


def get_commands(packed: NDArray[np.void], prefix: bytes) -> bytes:
    """`HGET <prefix><bucket> <field>` for each claim."""
    claims = _bytes_of(packed)
    head = b"*3\r\n$4\r\nHGET\r\n$%d\r\n%s" % (len(prefix) + BUCKET_BYTES, prefix)
    return _laid_out(
        [head, claims[:, :_FIELD_AT], b"\r\n$%d\r\n" % FIELD_BYTES, claims[:, _FIELD_AT:_VALUE_AT],
         b"\r\n"],
        len(claims),
    )  # fmt: skip


def found_in(replies: bytes | bytearray, count: int) -> tuple[NDArray[np.bool_], int]:
    """Which of the first `count` replies to `HGET` hold a value, and how many of them are there.

    Fewer than `count` mean that more bytes are to come; -1 that the next one is no such reply.
    """
    found = np.zeros(count, np.bool_)
    return found, int(_find(np.frombuffer(replies, np.uint8), found))


@compiled
def _find(replies: NDArray[np.uint8], found: NDArray[np.bool_]) -> int:
    at, size = 0, len(replies)
    for number in range(len(found)):
        start = at
        while at < size and replies[at] != _NEWLINE:
            at += 1
        if at == size:
            return number
        at += 1
        if replies[start] == _NULL or replies[start + 1] == _MINUS:
            if replies[start] != _NULL and replies[start] != _DOLLAR:
                return -1
            continue
        if replies[start] != _DOLLAR:
            return -1
        length = 0
        for digit in range(start + 1, at - _LINE_END):
            length = length * 10 + replies[digit] - _ZERO
        at += length + _LINE_END
        if at > size:
            return number
        found[number] = True
    return len(found)


def _bytes_of(packed: NDArray[np.void]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(packed).view(np.uint8).reshape(-1, CLAIM_BYTES)


def _laid_out(parts: list[bytes | NDArray[np.uint8]], rows: int) -> bytes:
    widths = [part.shape[1] if isinstance(part, np.ndarray) else len(part) for part in parts]
    table = np.empty((rows, sum(widths)), np.uint8)
    at = 0
    for part, width in zip(parts, widths, strict=True):
        is_column = isinstance(part, np.ndarray)
        table[:, at : at + width] = part if is_column else np.frombuffer(part, np.uint8)
        at += width
    return table.tobytes()
