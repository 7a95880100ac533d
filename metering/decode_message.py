"""A Kafka message's value as the bytes of its events."""

from typing import Final

import msgspec

from metering.rejection import RejectionCode

MESSAGE_BYTES_MAX: Final = 1 << 20
EVENT_BYTES_MAX: Final = 1 << 16
ARRAY_EVENTS_MAX: Final = 1000

_ANY = msgspec.json.Decoder(msgspec.Raw)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BLANKS = b" \t\r\n"

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
    return is_utf8(value)


def _of_array(value: bytes) -> list[bytes] | RejectionCode:
    try:
        events = _ARRAY.decode(value)
    except RecursionError:  # one level deeper than the check of the whole
        return RejectionCode.MESSAGE_MUST_BE_VALID_JSON
    if not events:
        return RejectionCode.ARRAY_MUST_NOT_BE_EMPTY
    if len(events) > ARRAY_EVENTS_MAX:
        return RejectionCode.ARRAY_MUST_NOT_EXCEED_LENGTH_LIMIT
    return [bytes(event) for event in events]
