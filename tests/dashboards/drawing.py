"""Panels drawn with matplotlib from what their queries answer: the look of Grafana, near enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from panel_queries import Answer, Panel
from PIL import Image
from readable import cell, decimals_of, format_of, moment, rounds, ticks, unit_of

mpl.use("Agg")

_COLUMNS, _COLORS = 24, 160
_INK, _MUTED, _GRID, _PAGE, _CARD = "#24292f", "#6b7280", "#e5e7eb", "#f3f4f6", "#ffffff"
#: Told apart also by those who see few colours; outcomes have their own, as in Grafana.
_PALETTE = (
    "#4878a8", "#e0a458", "#5b9ea6", "#8e6bb0", "#7a9e59", "#b56585", "#7a5c47", "#a0aec0",
    "#c9a227", "#566573", "#d9792b",
)  # fmt: skip
_LIMITS = {"green": "#3a8f5c", "orange": "#d9792b", "red": "#c0392b", "text": _INK}
_BAR_ROWS_MAX, _TABLE_ROWS_MAX, _SERIES_MAX = 12, 8, 11
_NAME_CHARACTERS, _INCHES_PER_CHARACTER = 40, 0.064
_INCHES_PER_COLUMN, _INCHES_PER_ROW = 0.58, 0.36
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60

Format = Callable[[float], str]


def draw(title: str, shown: Sequence[tuple[Panel, Answer, str]], file: Path) -> None:
    """Draw panels (with what they answer and their title) where a dashboard has them."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "svg.fonttype": "path", "font.size": 8})
    placed = _placed([(panel, answer) for panel, answer, _ in shown])
    rows = max(y + h for _, y, _, h in placed)
    width, height = _COLUMNS * _INCHES_PER_COLUMN, rows * _INCHES_PER_ROW + 0.55
    figure = plt.figure(figsize=(width, height), facecolor=_PAGE)
    figure.text(0.16 / width, 1 - 0.33 / height, title, fontsize=13, weight="bold", color=_INK)
    for (panel, answer, name), (x, y, w, h) in zip(shown, placed, strict=True):
        left, right = x * _INCHES_PER_COLUMN + 0.08, (x + w) * _INCHES_PER_COLUMN - 0.08
        top = height - 0.5 - y * _INCHES_PER_ROW
        bottom = top - h * _INCHES_PER_ROW + 0.14
        card = figure.add_axes(
            (left / width, bottom / height, (right - left) / width, (top - bottom) / height),
            facecolor=_CARD,
        )
        card.set_xticks([])
        card.set_yticks([])
        for side in card.spines.values():
            side.set_color(_GRID)
        inches = (right - left, top - bottom)
        at = {"transform": card.transAxes, "va": "top", "color": _INK}
        card.text(0.1 / inches[0], 1 - 0.08 / inches[1], name, fontsize=8.5, weight="bold", **at)
        _DRAWERS[panel.kind](card, inches, (panel, answer))
    image = BytesIO()
    figure.savefig(image, facecolor=_PAGE, dpi=100)
    plt.close(figure)
    compact = Image.open(image).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    compact.save(file, optimize=True)


def _placed(shown: Sequence[tuple[Panel, Answer]]) -> list[tuple[int, int, int, int]]:
    """Places of panels, moved together where others were left out: x, y, width, height."""
    found: list[tuple[int, int, int, int]] = []
    x, y, tallest, row = 0, 0, 0, ""
    for panel, answer in shown:
        w, h = panel.fields["gridPos"]["w"], panel.fields["gridPos"]["h"]
        if panel.kind == "table":
            h = min(h, 3 + len(answer.rows))
        if x + w > _COLUMNS or (row and panel.row != row):
            found[-1] = _widened(found[-1])
            x, y, tallest = 0, y + tallest, 0
        found.append((x, y, w, h))
        x, tallest, row = x + w, max(tallest, h), panel.row
    found[-1] = _widened(found[-1])
    return found


def _widened(place: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The last panel of a line fills it."""
    x, y, _, h = place
    return x, y, _COLUMNS - x, h


def _inner(card: Axes, inches: tuple[float, float], margins: Sequence[float]) -> Axes:
    """Axes inside a card; margins in inches: left, bottom, right, top."""
    left, bottom, right, top = margins
    w, h = inches
    return card.inset_axes(
        (left / w, bottom / h, (w - left - right) / w, (h - bottom - top) / h), facecolor=_CARD
    )


def _plain(axes: Axes, form: Format) -> None:
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0, labelsize=7)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: form(value)))
    axes.yaxis.get_major_locator().set_params(nbins=5)  # type: ignore[call-arg]
    for side in axes.spines.values():
        side.set_visible(False)


def _graph(card: Axes, inches: tuple[float, float], shown: tuple[Panel, Answer]) -> None:
    panel, answer = shown
    names = _largest_first(answer)[:_SERIES_MAX]
    axes = _inner(
        card, inches, (0.62, 0.34 + 0.16 * -(-len(names) // _per_line(inches, names)), 0.15, 0.36)
    )
    custom = panel.fields["fieldConfig"]["defaults"].get("custom", {})
    stacking = custom.get("stacking", {}).get("mode", "none")
    colors = _colors(panel, names)
    series = {name: sorted(_points(answer, name)) for name in names}
    form = format_of("percentunit" if stacking == "percent" else panel.unit)
    if stacking == "none":
        for name in names:
            times = [moment(time_s) for time_s, _ in series[name]]
            values = [value for _, value in series[name]]
            axes.plot(times, values, color=colors[name], linewidth=1.4, label=name)
    else:
        _stack(
            axes,
            series,
            colors,
            is_share=stacking == "percent",
            is_bars=custom.get("drawStyle") == "bars",
        )
    _plain(axes, form)
    top = 1 if stacking == "percent" else axes.get_ylim()[1] * 1.04 or 1
    axes.set_ylim(0, top)
    if places := rounds(top, panel.unit):
        axes.set_yticks(places)
    _limits(axes, panel, custom)
    _dates(axes, answer)
    _legend(card, inches, names, colors)


def _stack(
    axes: Axes,
    series: dict[str, list[tuple[float, float]]],
    colors: dict[str, str],
    *,
    is_share: bool,
    is_bars: bool,
) -> None:
    times = sorted({time_s for points in series.values() for time_s, _ in points})
    levels = {name: dict(points) for name, points in series.items()}
    heights = [[levels[name].get(time_s, 0.0) for time_s in times] for name in series]
    if is_share:
        sums = [sum(column) or 1.0 for column in zip(*heights, strict=True)]
        heights = [[v / s for v, s in zip(row, sums, strict=True)] for row in heights]
    moments = [moment(time_s) for time_s in times]
    shades = [colors[name] for name in series]
    if not is_bars:
        axes.stackplot(moments, heights, colors=shades, alpha=0.75, linewidth=0)
        return
    step = min((b - a for a, b in pairwise(times)), default=_HOUR_S)
    base = [0.0] * len(times)
    for row, shade in zip(heights, shades, strict=True):
        axes.bar(moments, row, bottom=base, width=step / _DAY_S * 0.92, color=shade, align="edge")
        base = [a + b for a, b in zip(base, row, strict=True)]


def _limits(axes: Axes, panel: Panel, custom: dict[str, Any]) -> None:
    if custom.get("thresholdsStyle", {}).get("mode", "off") == "off":
        return
    for step in panel.fields["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        value = step.get("value")
        if value is not None and value <= axes.get_ylim()[1]:
            axes.axhline(value, color=_LIMITS[step["color"]], linewidth=1, linestyle=(0, (5, 3)))


def _timeline(card: Axes, inches: tuple[float, float], shown: tuple[Panel, Answer]) -> None:
    panel, answer = shown
    names = sorted({point.series for point in answer.points})
    (mapping,) = panel.fields["fieldConfig"]["defaults"]["mappings"]
    axes = _inner(card, inches, (0.85, 0.5, 0.15, 0.36))
    times = sorted({point.time_s for point in answer.points})
    step_s = min((b - a for a, b in pairwise(times)), default=_MINUTE_S)
    used = {}
    for at, name in enumerate(reversed(names)):
        for time_s, value in _points(answer, name):
            state = mapping["options"][f"{value:.0f}"]
            used[state["text"]] = color = _LIMITS[state["color"]]
            axes.barh(
                at, step_s / _DAY_S, left=mdates.date2num(moment(time_s)), height=0.62, color=color
            )
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(colors=_MUTED, length=0, labelsize=7)
    for side in axes.spines.values():
        side.set_visible(False)
    _dates(axes, answer)
    _legend(card, inches, list(used), used)


def _bars(card: Axes, inches: tuple[float, float], shown: tuple[Panel, Answer]) -> None:
    panel, answer = shown
    rows = answer.rows[-_BAR_ROWS_MAX:]
    names = [
        name for name in answer.columns[1:] if any(row[answer.columns.index(name)] for row in rows)
    ]
    colors = _colors(panel, names)
    labels = [str(row[0]) for row in rows]
    is_long = max(map(len, labels), default=0) * len(labels) > inches[0] * 11
    axes = _inner(card, inches, (0.62, 0.62 if is_long else 0.5, 0.15, 0.36))
    base = [0.0] * len(rows)
    for name in names:
        values = [float(row[answer.columns.index(name)] or 0) for row in rows]
        axes.bar(
            range(len(rows)),
            values,
            bottom=base,
            width=min(0.66, 0.9 * len(rows) / inches[0]),
            color=colors[name],
        )
        base = [a + b for a, b in zip(base, values, strict=True)]
    axes.set_xticks(
        range(len(rows)),
        [text[5:] if text[:2] == "20" and len(text) == 10 else text for text in labels],
    )
    axes.set_xlim(-0.6, len(rows) - 0.4)
    _plain(axes, format_of("short"))
    axes.tick_params(axis="x", labelsize=6.5 if is_long else 7)
    _legend(card, inches, names, colors)


def _stat(card: Axes, _inches: tuple[float, float], shown: tuple[Panel, Answer]) -> None:
    panel, answer = shown
    fields = (
        list(zip(answer.columns, answer.rows[0], strict=True))
        if answer.columns
        else [("", answer.points[0].value)]
    )
    steps = panel.fields["fieldConfig"]["defaults"]["thresholds"]["steps"]
    for at, (name, value) in enumerate(fields):
        x = (at + 0.5) / len(fields)
        unit = unit_of(panel, name)
        is_moment = unit == "dateTimeAsIso"
        text = cell(value, unit, None if is_moment else decimals_of(panel, name))
        color = _INK
        for step in [] if is_moment or at else steps:
            if step.get("value") is None or float(value) >= step["value"]:
                color = _LIMITS[step["color"]]
        card.text(
            x, 0.46 if len(fields) > 1 else 0.4, text.replace(" ", "\n", 1) if is_moment else text,
            transform=card.transAxes, ha="center", va="center", color=color,
            fontsize=9 if is_moment else 15, weight="normal" if is_moment else "bold",
        )  # fmt: skip
        if len(fields) > 1:
            card.text(
                x, 0.14, name, transform=card.transAxes, ha="center", va="center", color=_MUTED,
                fontsize=7.5,
            )  # fmt: skip


def _table(card: Axes, inches: tuple[float, float], shown: tuple[Panel, Answer]) -> None:
    panel, answer = shown
    units = [unit_of(panel, name) for name in answer.columns]
    cells = [
        [cell(value, unit, decimals_of(panel, name))
         for value, unit, name in zip(row, units, answer.columns, strict=True)]
        for row in answer.rows[:_TABLE_ROWS_MAX]
    ]  # fmt: skip
    widths = [
        max(len(text) for text in (name, *(row[at] for row in cells)))
        for at, name in enumerate(answer.columns)
    ]
    room = (inches[0] - 0.2) / sum(width + 2 for width in widths)
    size = min(7.5, room * 72 / 0.62)
    is_number = [isinstance(answer.rows[0][at], int | float | Decimal) for at in range(len(units))]
    line = 0.289
    for number, row in enumerate([answer.columns, *cells]):
        x, y = 0.1, inches[1] - 0.5 - line * number
        for at, text in enumerate(row):
            wide = (widths[at] + 2) * room
            card.text(
                (x + (wide - 1.2 * room if is_number[at] else 0)) / inches[0], y / inches[1], text,
                transform=card.transAxes, va="center", fontsize=size,
                ha="right" if is_number[at] else "left",
                color=_MUTED if not number else _INK, weight="bold" if not number else "normal",
            )  # fmt: skip
            x += wide
        if number < len(cells):
            card.plot(
                [0.1 / inches[0], 1 - 0.1 / inches[0]], [(y - line / 2) / inches[1]] * 2,
                color=_GRID, linewidth=0.7, transform=card.transAxes,
            )  # fmt: skip


def _largest_first(answer: Answer) -> list[str]:
    sums: dict[str, float] = {}
    for point in answer.points:
        sums[point.series] = sums.get(point.series, 0.0) + point.value
    if all(name.isdigit() for name in sums):
        return sorted(sums, key=int)
    return sorted(sums, key=lambda name: (-sums[name], name))


def _points(answer: Answer, name: str) -> list[tuple[float, float]]:
    return [(point.time_s, point.value) for point in answer.points if point.series == name]


def _colors(panel: Panel, names: Sequence[str]) -> dict[str, str]:
    """Fixed colours of the panel, else one of the palette for each name."""
    fixed = {
        each["matcher"]["options"]: prop["value"]["fixedColor"]
        for each in panel.fields["fieldConfig"]["overrides"] or []
        for prop in each["properties"]
        if prop["id"] == "color"
    }
    free = [shade for shade in _PALETTE if shade not in {fixed.get(name) for name in names}]
    unfixed = sorted(name for name in names if name not in fixed)
    given = {name: free[at % len(free)] for at, name in enumerate(unfixed)}
    return {name: fixed.get(name) or given[name] for name in names}


def _dates(axes: Axes, answer: Answer) -> None:
    times = [point.time_s for point in answer.points]
    start, end = min(times), max(times)
    room = max((end - start) * 0.01, 1)
    axes.set_xlim(moment(start), moment(end + room))
    places, labels = ticks(start, end)
    axes.set_xticks([moment(each) for each in places], labels)


def _legend_column(names: Sequence[str]) -> float:
    """Width in inches of a column of a legend."""
    longest = max((len(name) for name in names), default=0)
    return 0.4 + _INCHES_PER_CHARACTER * min(longest, _NAME_CHARACTERS)


def _per_line(inches: tuple[float, float], names: Sequence[str]) -> int:
    return max(int((inches[0] - 0.2) / _legend_column(names)), 1)


def _legend(
    card: Axes, inches: tuple[float, float], names: Sequence[str], colors: Mapping[str, str]
) -> None:
    """Names with their colours below the axes, in columns."""
    per_line, column = _per_line(inches, names), _legend_column(names)
    lines = -(-len(names) // per_line)
    for at, name in enumerate(names):
        x = (0.16 + column * (at % per_line)) / inches[0]
        y = (0.12 + 0.16 * (lines - 1 - at // per_line)) / inches[1]
        card.plot(
            [x, x + 0.12 / inches[0]], [y, y], color=colors[name], linewidth=3,
            transform=card.transAxes, solid_capstyle="butt",
        )  # fmt: skip
        short = name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"
        card.text(
            x + 0.17 / inches[0], y, short, transform=card.transAxes, va="center", fontsize=7,
            color=_MUTED,
        )  # fmt: skip


_DRAWERS: dict[str, Callable[[Axes, tuple[float, float], tuple[Panel, Answer]], None]] = {
    "timeseries": _graph,
    "state-timeline": _timeline,
    "barchart": _bars,
    "stat": _stat,
    "table": _table,
}
