"""A Kafka message's value as the bytes of its events."""

import re
from typing import Final

import msgspec
import numpy as np

from metering.rejection import RejectionCode

MESSAGE_BYTES_MAX: Final = 1 << 20
EVENT_BYTES_MAX: Final = 1 << 16
ARRAY_EVENTS_MAX: Final = 1000
#: Levels of objects and arrays in a message. The parser's own guard depends on how deep its caller
#: stands in the stack, so this one, far below it, makes the same bytes mean the same everywhere.
NESTING_MAX: Final = 256
#: A message this short cannot be nested deeper: every level opens and closes.
FLAT_BYTES_MAX: Final = 2 * NESTING_MAX

_ANY = msgspec.json.Decoder(msgspec.Raw)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BLANKS = b" \t\r\n"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')

#: What the JSON decoder raises on bad input; a RecursionError is not a ValueError.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def is_utf8(value: bytes) -> bool:
    """Whether `value` is UTF-8 all through; the JSON decoder does not look at what it skips."""
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def may_be_nested_too_deeply(value: bytes) -> bool:
    """Whether `value` has enough brackets for it, in strings or not; cheap for short ones."""
    if len(value) <= FLAT_BYTES_MAX:
        return False
    return value.count(b"{") + value.count(b"[") > NESTING_MAX


def unpacked(value: bytes | None) -> list[bytes] | RejectionCode:
    """Bytes of each event of a message, or the first predicate that the message fails.

    Nothing is said yet about the events themselves, not even that they are objects.
    """
    if not value:
        return RejectionCode.MESSAGE_MUST_HAVE_A_VALUE
    if len(value) > MESSAGE_BYTES_MAX:
        return RejectionCode.MESSAGE_MUST_NOT_EXCEED_SIZE_LIMIT
    stripped = value.strip(_BLANKS)
    if not _is_json(stripped):
        return RejectionCode.MESSAGE_MUST_BE_VALID_JSON
    if stripped.startswith(b"{"):
        return [stripped]
    if not stripped.startswith(b"["):
        return RejectionCode.MESSAGE_MUST_BE_OBJECT_OR_ARRAY
    return _of_array(stripped)


def _is_json(value: bytes) -> bool:
    try:
        _ANY.decode(value)
    except DECODE_ERRORS:
        return False
    return is_utf8(value) and not _is_nested_too_deeply(value)


def _is_nested_too_deeply(value: bytes) -> bool:
    """Whether valid JSON has more levels than are allowed."""
    if not may_be_nested_too_deeply(value):
        return False
    bare = np.frombuffer(_STRING.sub(b"", value), np.uint8)
    opened = np.isin(bare, [ord("["), ord("{")]).astype(np.int32)
    closed = np.isin(bare, [ord("]"), ord("}")])
    return int((opened - closed).cumsum().max()) > NESTING_MAX


def _of_array(value: bytes) -> list[bytes] | RejectionCode:
    try:
        events = _ARRAY.decode(value)
    except RecursionError:  # the caller stands so deep that even allowed levels do not fit
        return RejectionCode.MESSAGE_MUST_BE_VALID_JSON
    if not events:
        return RejectionCode.ARRAY_MUST_NOT_BE_EMPTY
    if len(events) > ARRAY_EVENTS_MAX:
        return RejectionCode.ARRAY_MUST_NOT_EXCEED_LENGTH_LIMIT
    return [bytes(event) for event in events]
