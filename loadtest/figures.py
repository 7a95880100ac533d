"""What a bench says: figures, gathered in sections, that are printed and written to files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

_TENTHS_FROM, _WHOLE_FROM = 100, 1000


class Figure(NamedTuple):
    """One number with its unit; `note` says how it was taken where the name does not."""

    name: str
    value: float | str
    unit: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The value as people read it, with its unit."""
        return f"{number_text(self.value)} {self.unit}".strip()


@dataclass
class Section:
    """One part of the bench: the commands that it ran and the figures that came of it.

    `error` is why it could not run; `differences` are numbers that are not exact.
    """

    name: str
    title: str
    commands: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """It ran, and every number that has to be exact is."""
        return not self.error and not self.differences

    def add(self, name: str, value: float | str, unit: str = "", note: str = "") -> None:
        """One more figure; names are unique in a section."""
        assert self.number(name) is None, name
        self.figures.append(Figure(name, value, unit, note))

    def number(self, name: str) -> float | None:
        """A figure's value by its name, None where it was not measured."""
        for figure in self.figures:
            if figure.name == name:
                return None if isinstance(figure.value, str) else float(figure.value)
        return None


def number_text(value: float | str) -> str:
    """Three significant digits for small numbers, thousands separated for large ones."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _TENTHS_FROM else f"{value:.3g}"
