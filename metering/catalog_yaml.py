"""A YAML file as nodes that know their lines, so that a fault can name the place.

Composed by the safe loader and never constructed: tags run nothing, and a value is what stands in
the file (`no` is not silently False, a time keeps its offset).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from metering.rfc3339 import microseconds
from metering.yaml_compose import compose

_TAG = "tag:yaml.org,2002:"
_TEXT_MAX = 256
_SHOWN_MAX = 60
_TEXT = f"text of 1 to {_TEXT_MAX} characters without control characters"


@dataclass(frozen=True)
class YamlFile:
    """One file; `root` is None where it does not exist or could not be read (told in `faults`)."""

    name: str
    root: Node | None
    faults: list[str]

    @classmethod
    def read(cls, path: Path, faults: list[str], *, required: bool = False) -> "YamlFile":
        """Compose `path`; what is wrong is appended to `faults`, nothing is raised."""
        root: Node | None = None
        try:
            root = compose(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if required:
                faults.append(f"{path}:1: file: expected to exist, got: no such file")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{path}:1: file: expected readable UTF-8, got: {error}")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line = 1 if mark is None else mark.line + 1
            faults.append(f"{path}:{line}: file: expected YAML, got: {error.problem}")
        except (yaml.YAMLError, RecursionError) as error:
            faults.append(f"{path}:1: file: expected YAML, got: {str(error).splitlines()[0]}")
        else:
            if root is None and required:
                faults.append(f"{path}:1: file: expected a mapping, got: nothing")
        return cls(str(path), root, faults)

    def entries(self, key: str) -> Iterator["Entry"]:
        """Yield the mappings in the list under `key`, the only member of the file."""
        if self.root is None:
            return
        top = Entry.of(self, self.root, key)
        if top is None:
            return
        top.allow_only(key)
        node = top.node(key)
        if node is None:
            top.fault(key, "a list", "nothing")
        elif not isinstance(node, SequenceNode):
            top.fault(key, "a list", _shown(node))
        else:
            for position, item in enumerate(node.value):
                entry = Entry.of(self, item, f"{key}[{position}]")
                if entry is not None:
                    yield entry


@dataclass(frozen=True)
class Entry:
    """One mapping of a file. Readers return None after they told what is wrong."""

    file: YamlFile
    where: str
    line: int
    members: dict[str, Node]

    @classmethod
    def of(cls, file: YamlFile, node: Node, where: str) -> "Entry | None":
        """`node` as a mapping with text keys, each once; None where it is not a mapping."""
        line = node.start_mark.line + 1
        entry = cls(file, where, line, {})
        if not isinstance(node, MappingNode):
            entry.fault("", "a mapping", _shown(node), node)
            return None
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag != _TAG + "str":
                entry.fault("", "text as key", _shown(key), key)
            elif key.value in entry.members:
                entry.fault(key.value, "a key only once", "it again", key)
            else:
                entry.members[key.value] = value
        return entry

    def fault(self, field: str, expected: str, got: str, node: Node | None = None) -> None:
        """Tell one fault, at the line of `node` or else of the field."""
        at = node or self.members.get(field)
        line = self.line if at is None else at.start_mark.line + 1
        place = ".".join(part for part in (self.where, field) if part)
        self.file.faults.append(f"{self.file.name}:{line}: {place}: expected {expected}, got {got}")

    def allow_only(self, *keys: str) -> None:
        """Tell every key that is none of `keys`."""
        for key, node in self.members.items():
            if key not in keys:
                self.fault(key, f"one of {', '.join(keys)}", repr(key), node)

    def has(self, field: str) -> bool:
        """Whether the mapping has `field`."""
        return field in self.members

    def node(self, field: str) -> Node | None:
        """Look up the node under `field`."""
        return self.members.get(field)

    def shown(self, field: str) -> str:
        """Show what stands under `field`, shortened."""
        return _shown(self.members.get(field))

    def text(self, field: str, *, pattern: str | None = None) -> str | None:
        """Read required text, all of which matches `pattern` where one is given."""
        value = _text(self.members.get(field))
        if value is None:
            self.fault(field, _TEXT, self.shown(field))
        elif pattern is not None and re.fullmatch(pattern, value) is None:
            self.fault(field, f"text like {pattern}", repr(value))
            return None
        return value

    def choice(self, field: str, choices: tuple[str, ...]) -> str | None:
        """Read required text that is one of `choices`, also where YAML takes it for a truth value.

        So the bare word `off` is what stands there.
        """
        node = self.members.get(field)
        value = _text(node)
        if isinstance(node, ScalarNode) and node.tag == _TAG + "bool":
            value = str(node.value)
        if value not in choices:
            self.fault(field, f"one of {', '.join(choices)}", self.shown(field))
            return None
        return value

    def texts(self, field: str, *, count_max: int) -> tuple[str, ...]:
        """Read an optional list of distinct texts, at most `count_max`; () where it is missing."""
        node = self.members.get(field)
        if node is None:
            return ()
        if not isinstance(node, SequenceNode):
            self.fault(field, "a list", _shown(node))
            return ()
        values = [_text(item) for item in node.value]
        for value, item in zip(values, node.value, strict=True):
            if value is None:
                self.fault(field, _TEXT, _shown(item), item)
        found = tuple(value for value in values if value is not None)
        if len(found) > count_max:
            self.fault(field, f"at most {count_max} entries", str(len(found)))
        if len(set(found)) < len(found):
            self.fault(field, "entries that differ", _shown(node))
        return found

    def flag(self, field: str) -> bool:
        """Read an optional `true` or `false`; False where there is none."""
        node = self.members.get(field)
        if node is None:
            return False
        if not isinstance(node, ScalarNode) or node.value not in ("true", "false") or node.style:
            self.fault(field, "true or false", _shown(node))
            return False
        return str(node.value) == "true"

    def moment_us(self, field: str, *, required: bool = False) -> int | None:
        """Read a time with an offset, as Unix microseconds; None where there is none."""
        node = self.members.get(field)
        if node is None and not required:
            return None
        scalar = isinstance(node, ScalarNode)
        value = microseconds(node.value) if isinstance(node, ScalarNode) and scalar else None
        if value is None:
            self.fault(field, "a time like 2026-01-31T00:00:00Z, with an offset", _shown(node))
        return value

    def mapping(self, field: str) -> "Entry | None":
        """Read the required mapping under `field`."""
        node = self.members.get(field)
        if node is None:
            self.fault(field, "a mapping", "nothing")
            return None
        return Entry.of(self.file, node, f"{self.where}.{field}")


def _text(node: Node | None) -> str | None:
    if not isinstance(node, ScalarNode) or node.tag != _TAG + "str":
        return None
    value = str(node.value)
    sound = 1 <= len(value) <= _TEXT_MAX and min(value) >= " "
    return value if sound else None


def _shown(node: Node | None) -> str:
    if node is None:
        return "nothing"
    if isinstance(node, ScalarNode):
        kind = node.tag.removeprefix(_TAG)
        value = str(node.value)
        short = value if len(value) <= _SHOWN_MAX else value[:_SHOWN_MAX] + "..."
        return repr(short) if kind == "str" else f"{short} ({kind})"
    return "a list" if isinstance(node, SequenceNode) else "a mapping"
