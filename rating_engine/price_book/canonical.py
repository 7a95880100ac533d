"""What a price version says, in one form: the same content is the same text, however written.

Fields come in the order of the description, decimals and moments in one notation, sets sorted, and
what says nothing new (a default) is left out. So comments, order, `0.10` for `0.1` and another
offset of the same moment change nothing, and a difference is one that matters.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from metering import rfc3339
from metering.quantity import units
from rating_engine.exact import quantity_text
from rating_engine.price_book.shape import Field, Kind, Shape
from rating_engine.price_book.shapes import PLAN, SHAPES, VERSION

Content = dict[str, object]


class Change(NamedTuple):
    """One place where two contents differ; empty text: it is not there."""

    place: str
    before: str
    after: str

    def __str__(self) -> str:
        """`charges[api_requests].price.unit_price: 0.001 -> 0.002`."""
        return f"{self.place}: {self.before or 'nothing'} -> {self.after or 'nothing'}"


def version_content(plan: Mapping[str, object], version: Mapping[str, object]) -> str:
    """Write a version with what its plan says for all of them, as canonical JSON.

    Both are plain values that were read without a fault.
    """
    shared = _content({**plan, "versions": None}, PLAN)
    content = {**shared, **_content(version, VERSION)}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def content_hash(*contents: str) -> str:
    """SHA-256 of texts, each with its length in front, so that no two lists have one hash."""
    digest = hashlib.sha256()
    for content in contents:
        encoded = content.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def differences(before: str, after: str) -> list[Change]:
    """Every place where two canonical contents differ, in the order of the first."""
    old, new = dict(_places(json.loads(before))), dict(_places(json.loads(after)))
    return [
        Change(place, old.get(place, ""), new.get(place, ""))
        for place in dict.fromkeys((*old, *new))
        if old.get(place) != new.get(place)
    ]


def _content(values: Mapping[str, object], shape: Shape) -> Content:
    found: Content = {"model": shape.model} if shape.model else {}
    for field in shape.fields:
        value = values.get(field.name)
        if value is None:
            continue
        written = _written(value, field)
        if written != field.default and written not in ([], {}):
            found[field.name] = written
    return found


def _written(value: object, field: Field) -> object:
    if field.kind is Kind.DECIMAL:
        return _decimal(value)
    if field.kind is Kind.MOMENT:
        return _moment(value)
    if field.kind is Kind.TEXTS:
        return sorted(map(str, _sequence(value)))
    if field.kind is Kind.SHAPES:
        members = [_content(_mapping(each), SHAPES[field.of[0]]) for each in _sequence(value)]
        name = field.sorted_by
        return sorted(members, key=lambda each: json.dumps(each[name])) if name else members
    if field.kind in {Kind.SHAPE, Kind.CHOICE_OF_SHAPES}:
        mapping = _mapping(value)
        name = field.of[0] if field.kind is Kind.SHAPE else str(mapping["model"])
        return _content(mapping, SHAPES[name])
    return dict(sorted(_mapping(value).items())) if field.kind is Kind.TEXT_MAP else value


def _decimal(value: object) -> str:
    read = units(str(value))
    assert isinstance(read, int), value  # it was read without a fault
    return quantity_text(read)


def _moment(value: object) -> str:
    read = rfc3339.microseconds(str(value))
    assert read is not None, value
    return rfc3339.written(read)


def _places(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _places(member, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for position, member in enumerate(value):
            yield from _places(member, f"{place}[{_name(member, position)}]")
    else:
        yield place, value if isinstance(value, str) else json.dumps(value)


def _name(member: object, position: int) -> str:
    """What a member of a list is called: a meter, a combination of values, or its position."""
    if isinstance(member, Mapping) and "meter" in member:
        return str(member["meter"])
    if isinstance(member, Mapping) and isinstance(member.get("values"), Mapping):
        return ",".join(f"{name}={value}" for name, value in member["values"].items())
    return str(position)


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping), value
    return value


def _sequence(value: object) -> Sequence[object]:
    assert isinstance(value, list | tuple), value
    return value
