"""YAML files of the reconciler: sections whose fields are asked by name, every fault with its line.

Values are as exact as the file: see `metering/yaml_values.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node

from metering.errors import SettingsInvalid
from metering.quantity import units
from metering.yaml_compose import compose
from metering.yaml_values import Path as Place
from metering.yaml_values import PlainValues, line_at


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of the file, maybe an empty one; asking for a wrong field tells a fault."""

    values: dict[str, Any]
    place: Place
    file: "_File"

    def text(self, name: str, default: str = "") -> str:
        """A text field; numbers that are whole may stand without quotes."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, str):
            return value
        if type(value) is int:
            return str(value)
        self.tell(name, expected="text", got=repr(value))
        return default

    def choice(self, name: str, *allowed: str) -> str:
        """One of `allowed`; the first where the field is not there."""
        value = self.text(name, allowed[0])
        if value not in allowed:
            self.tell(name, expected=f"one of {', '.join(allowed)}", got=value)
            return allowed[0]
        return value

    def amount(self, name: str, default: int) -> int:
        """A decimal, in 10^-12; "0.01" or a whole number. Never below zero."""
        if self.values.get(name) is None:
            return default
        text = self.text(name)
        value = units(text)
        if not isinstance(value, int) or value < 0:
            self.tell(name, expected='a decimal as text, like "0.01"', got=repr(self.values[name]))
            return default
        return value

    def section(self, name: str) -> "Section":
        """A mapping inside; empty where the field is not there."""
        value = self.values.get(name, {})
        if value is None or not isinstance(value, dict):
            self.tell(name, expected="a mapping", got=repr(value))
            value = {}
        return Section(value, (*self.place, name), self.file)

    def sections(self, name: str) -> Iterator[tuple[str, "Section"]]:
        """Every mapping of a mapping, with its key."""
        outer = self.section(name)
        for key in outer.values:
            yield key, outer.section(key)

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        outer = self.section(name)
        return {key: outer.text(key) for key in outer.values}

    def only(self, *known: str) -> None:
        """Tell of every field that is none of `known`."""
        for name in self.values:
            if name not in known:
                self.tell(name, expected=f"one of {', '.join(known)}", got=name)

    def tell(self, name: str, *, expected: str, got: str) -> None:
        """Keep a fault of the field."""
        self.file.tell((*self.place, name), expected=expected, got=got)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    root: Node
    faults: list[str]

    def tell(self, place: Place, *, expected: str, got: str) -> None:
        line = line_at(self.root, place)
        field = ".".join(map(str, place))
        self.faults.append(f"{self.path}:{line}: {field}: expected {expected}, got {got}")


@dataclass(frozen=True, slots=True)
class _Told:
    """Takes what is wrong with the YAML itself."""

    file: _File

    def __call__(self, path: Place, node: Node, *, expected: str, got: str) -> None:
        line = int(node.start_mark.line) + 1
        field = ".".join(map(str, path))
        self.file.faults.append(f"{self.file.path}:{line}: {field}: expected {expected}, got {got}")


def read_yaml(path: Path) -> tuple[Section, list[str]]:
    """The file's outermost mapping, and the list that its faults go to.

    Raises `SettingsInvalid` where there is no such file, or it is no YAML mapping.
    """
    try:
        root = compose(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8"
        raise SettingsInvalid([f"{path}: expected a readable file, got: {reason}"]) from error
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise SettingsInvalid([f"{path}: expected YAML, got: {text}"]) from error
    if not isinstance(root, MappingNode):
        raise SettingsInvalid([f"{path}:1: expected a mapping, got something else"])
    faults: list[str] = []
    file = _File(path, root, faults)
    values = PlainValues(_Told(file)).of(root)
    assert isinstance(values, dict)
    return Section(values, (), file), faults
