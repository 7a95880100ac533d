"""Horizontal bars from a zero line, as inline SVG: left is below zero, right above."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_ROW = 30
_BAR = 16
_LABEL = 216
_WIDTH = 680
#: Width of a digit of an amount, and what stands before and behind it.
_DIGIT, _BESIDE = 8, 14
_LABEL_CHARACTERS = 27


class Bar(NamedTuple):
    """One bar: its label, a number of any unit, how it is written, and a CSS class."""

    label: str
    value: int
    text: str
    tone: str


def bar_chart(bars: Sequence[Bar], *, title: str) -> str:
    """SVG of all bars on one scale; `title` is what a screen reader says."""
    least = min(0, *(bar.value for bar in bars))
    most = max(0, *(bar.value for bar in bars))
    left = _LABEL + _room_beside([bar for bar in bars if bar.value < 0])
    room = _WIDTH - left - _room_beside([bar for bar in bars if bar.value > 0])
    span = (most - least) or 1
    zero = left + room * -least // span
    height = _ROW * len(bars) + 8
    rows = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" class="chart">',
        f"<title>{escape(title)}</title>",
        f'<line x1="{zero}" y1="0" x2="{zero}" y2="{height}" class="axis"/>',
    ]
    for at, bar in enumerate(bars):
        width = max(room * abs(bar.value) // span, 2 if bar.value else 0)
        start = zero - width if bar.value < 0 else zero
        top = at * _ROW + 8
        middle = top + _BAR // 2 + 4
        anchor, beside = ("end", start - 6) if bar.value < 0 else ("start", start + width + 6)
        size = f'x="{start}" y="{top}" width="{width}" height="{_BAR}" rx="3"'
        label = f"<title>{escape(bar.label)}</title>{escape(_short(bar.label))}"
        rows += [
            f'<text x="{_LABEL - 14}" y="{middle}" class="label">{label}</text>',
            f'<rect {size} class="bar {bar.tone}"/>',
            f'<text x="{beside}" y="{middle}" class="amount" text-anchor="{anchor}">',
            f"{escape(bar.text)}</text>",
        ]
    return "\n".join([*rows, "</svg>"])


def _room_beside(bars: Sequence[Bar]) -> int:
    """For the longest amount, should it stand beside the longest bar."""
    return _BESIDE + _DIGIT * max((len(bar.text) for bar in bars), default=0)


def _short(label: str) -> str:
    """Beginning and end of a long label: what tells identifiers apart is mostly at their end."""
    if len(label) <= _LABEL_CHARACTERS:
        return label
    half = (_LABEL_CHARACTERS - 1) // 2
    return f"{label[:half]}…{label[-half:]}"
