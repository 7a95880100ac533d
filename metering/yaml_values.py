"""Nodes of a YAML file as plain values, as exact as the file: text, whole numbers, flags, lists.

Numbers with a point stay what the file says, in an `Unquoted` that no reader takes for text or for
a number: a fault can show it, and nobody can lose digits. The same for what YAML 1.1 makes of
`no`, `1:30` or `0x10`.
"""

import re
from dataclasses import dataclass, field
from typing import Protocol

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,39})", re.ASCII)
#: Values in one file, with what aliases repeat; more is a mistake or an attack.
VALUES_MAX = 2_000_000

Path = tuple[str | int, ...]


class Tell(Protocol):
    """Takes one fault of `node`, which lies at `path`."""

    def __call__(self, path: Path, node: Node, *, expected: str, got: str) -> None:
        """Keep it."""
        ...


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A scalar that is neither text nor a plain whole number or flag, as it stands in the file."""

    text: str

    def __repr__(self) -> str:
        """The file's own text, so that a fault shows what was read."""
        return self.text


@dataclass(slots=True)
class PlainValues:
    """Turns nodes into values; tells keys that are no text or come twice, and goes on."""

    tell: Tell
    _known: dict[int, tuple[object, int]] = field(default_factory=dict)

    def of(self, node: Node, path: Path = ()) -> object:
        """The value of `node`, which lies at `path`."""
        return self._of(node, path)[0]

    def _of(self, node: Node, path: Path) -> tuple[object, int]:
        if isinstance(node, ScalarNode):
            return _scalar(node), 1
        known = self._known.get(id(node))
        if known is None:
            self._known[id(node)] = (Unquoted("*itself"), 1)  # met again only inside itself
            known = self._mapping(node, path) if isinstance(node, MappingNode) else None
            known = known or self._sequence(node, path)
            if known[1] > VALUES_MAX:
                expected = f"at most {VALUES_MAX} values"
                self.tell(path, node, expected=expected, got="more, by aliases")
                known = (Unquoted("..."), 1)
            self._known[id(node)] = known
        return known

    def _mapping(self, node: MappingNode, path: Path) -> tuple[object, int]:
        values: dict[str, object] = {}
        size = 1
        for key, member in node.value:
            if not isinstance(key, ScalarNode) or key.tag != _TAG + "str":
                got = str(key.value)[:60] if isinstance(key, ScalarNode) else "a list or mapping"
                self.tell(path, key, expected="text as key", got=got)
            elif key.value in values:
                self.tell((*path, key.value), key, expected="a key only once", got="it again")
            else:
                values[key.value], count = self._of(member, (*path, key.value))
                size += count
        return values, size

    def _sequence(self, node: Node, path: Path) -> tuple[object, int]:
        values: list[object] = []
        size = 1
        items = node.value if isinstance(node, SequenceNode) else ()
        for position, item in enumerate(items):
            value, count = self._of(item, (*path, position))
            values.append(value)
            size += count
        return values, size


def line_at(root: Node, path: Path) -> int:
    """The line (from 1) of what lies at `path`, or of the innermost node above it that is there."""
    node = root
    for part in path:
        found = _member(node, part)
        if found is None:
            break
        node = found
    return int(node.start_mark.line) + 1


def _member(node: Node, part: str | int) -> Node | None:
    if isinstance(node, SequenceNode) and isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == part:
                return value if isinstance(value, Node) else None
    return None


def _scalar(node: ScalarNode) -> object:
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind in {"str", "timestamp"}:
        return text
    if kind == "null":
        return None
    if kind == "int" and _WHOLE.fullmatch(text):
        return int(text)
    if kind == "bool" and text in {"true", "false"}:
        return text == "true"
    return Unquoted(text)
