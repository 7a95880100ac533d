"""The fields of one event as the bytes they were sent as, found under any name of the shapes."""

from dataclasses import dataclass
from typing import Final

import msgspec

from metering import shapes
from metering.decode_message import DECODE_ERRORS
from metering.dimensions import TEXT_MAX

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)

_Members = dict[str, msgspec.Raw]
_Paths = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
_NULL: Final = b"null"


def _paths(shape: shapes.Shape) -> _Paths:
    return tuple(
        (name, tuple((path.partition(".")[0], path.partition(".")[2]) for path in paths))
        for name, paths in shape.items()
    )


_PLAIN: Final = _paths(shapes.PLAIN)
_CLOUDEVENT: Final = _paths(shapes.CLOUDEVENT)


@dataclass(slots=True)
class Fields:
    """What an event says: own field name -> JSON as sent, without what is absent or null.

    `version` is a CloudEvent's specversion, None for other events; `data` is its data likewise.
    """

    values: dict[str, bytes]
    version: bytes | None = None
    data: bytes | None = None
    has_binary_data: bool = False


def fields_of(raw: bytes) -> Fields | None:
    """Fields of the event in `raw` (valid JSON); None where it is no object.

    Where a name comes twice, the last counts.
    """
    members = members_of(raw)
    if members is None:
        return None
    version = _sent(members.get(shapes.CLOUDEVENT_MARK))
    if version is None:
        return Fields(_found(members, _PLAIN))
    return Fields(
        _found(members, _CLOUDEVENT),
        version,
        _sent(members.get(shapes.CLOUDEVENT_DATA)),
        _sent(members.get(shapes.CLOUDEVENT_BINARY_DATA)) is not None,
    )


def members_of(raw: bytes | msgspec.Raw) -> _Members | None:
    """Members of the object in `raw`; None where it is none."""
    try:
        return _MEMBERS.decode(raw)
    except DECODE_ERRORS:
        return None


def scalars_of(data: bytes) -> dict[str, str]:
    """Members of a CloudEvent's data that are no field: text as it is, others as JSON.

    Objects, arrays and null are left out.
    """
    pairs = {}
    for name, member in (members_of(data) or {}).items():
        value = bytes(member)
        if name not in shapes.CLOUDEVENT_DATA_FIELDS and value[0] not in b"{[" and value != _NULL:
            pairs[name] = (text_of(value) or "") if value.startswith(b'"') else value.decode()
    return pairs


def text_of(raw: bytes) -> str | None:
    """Read the JSON string in `raw`; None where it is something else."""
    try:
        return _TEXT.decode(raw)
    except DECODE_ERRORS:
        return None


def key_of(raw: bytes | None) -> str:
    """Text of 1 to 256 characters without control characters; "" for everything else."""
    text = None if raw is None else text_of(raw)
    return text if text and len(text) <= TEXT_MAX and min(text) >= " " else ""


def _found(members: _Members, shape: _Paths) -> dict[str, bytes]:
    nested: dict[str, _Members] = {}
    values: dict[str, bytes] = {}
    for name, paths in shape:
        for head, tail in paths:
            member = members.get(head)
            if member is None:
                continue
            if tail:
                if head not in nested:
                    nested[head] = members_of(member) or {}
                member = nested[head].get(tail)
            value = _sent(member)
            if value is not None:
                values[name] = value
                break
    return values


def _sent(member: msgspec.Raw | None) -> bytes | None:
    value = None if member is None else bytes(member)
    return None if value == _NULL else value
