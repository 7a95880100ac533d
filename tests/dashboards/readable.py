"""Values as Grafana writes them: units, moments, amounts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from panel_queries import Panel

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_TEXT_CHARACTERS = 34
_WHOLE_FROM = 1000


def moment(time_s: float) -> datetime:
    """Unix seconds as a moment."""
    return datetime.fromtimestamp(time_s, UTC)


def format_of(unit: str) -> Callable[[float], str]:
    """Writes values of a unit, short enough for an axis."""
    return {
        "percentunit": lambda value: _percent(value * 100),
        "percent": lambda value: f"{value:.4g} %",
        "s": _duration,
        "eps": lambda value: f"{_short(value)} ev/s",
        "dateTimeAsIso": lambda value: f"{moment(value / 1000):%Y-%m-%d %H:%M:%S}",
        "bytes": lambda value: f"{value / (1 << 20):.3g} MiB",
    }.get(unit, _short)


def cell(value: Any, unit: str, decimals: int | None) -> str:
    """Writes one value of a table or a number panel."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float | Decimal):
        return _text(value)
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if unit in ("locale", "none"):
        number = Decimal(str(value))
        return f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"
    return format_of(unit)(float(value))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 1] + "…"


def unit_of(panel: Panel, column: str) -> str:
    """The unit of a column."""
    return str(_property(panel, column, "unit") or panel.unit)


def decimals_of(panel: Panel, column: str) -> int | None:
    """How many digits behind the point a column has; None where it depends on the value."""
    own = _property(panel, column, "decimals")
    found = panel.fields["fieldConfig"]["defaults"].get("decimals") if own is None else own
    return None if found is None else int(found)


def rounds(highest: float, unit: str) -> list[float]:
    """Places of an axis of time that starts at 0: five at most; for other units none."""
    if unit != "s":
        return []
    steps = [
        *(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, _MINUTE_S, 2 * _MINUTE_S, 5 * _MINUTE_S),
        *(15 * _MINUTE_S, 30 * _MINUTE_S, _HOUR_S, 3 * _HOUR_S, 6 * _HOUR_S, _DAY_S),
    ]
    step = next((each for each in steps if highest / each <= 5), 7 * _DAY_S)
    return [step * at for at in range(int(highest / step) + 1)]


def ticks(start_s: float, end_s: float) -> tuple[list[float], list[str]]:
    """Places and labels of a time axis: six at most, at round moments."""
    steps = [
        *(10, 30, _MINUTE_S, 2 * _MINUTE_S, 5 * _MINUTE_S, 15 * _MINUTE_S, _HOUR_S, 3 * _HOUR_S),
        *(6 * _HOUR_S, 12 * _HOUR_S, _DAY_S, 2 * _DAY_S, 7 * _DAY_S),
    ]
    step = next((each for each in steps if (end_s - start_s) / each <= 6), 30 * _DAY_S)
    first = -(-start_s // step) * step
    places = [first + step * at for at in range(int((end_s - first) // step) + 1)]
    form = "%d %b" if step >= _DAY_S else ("%H:%M" if step >= _MINUTE_S else "%H:%M:%S")
    if _HOUR_S * 6 <= step < _DAY_S:
        form = "%d %b %H:%M"
    return places, [f"{moment(each):{form}}" for each in places]


def _property(panel: Panel, column: str, name: str) -> Any:
    for each in panel.fields["fieldConfig"]["overrides"] or []:
        if each["matcher"]["options"] == column:
            for prop in each["properties"]:
                if prop["id"] == name:
                    return prop["value"]
    return None


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _percent(value: float) -> str:
    return f"{value:,.0f} %" if abs(value) >= _WHOLE_FROM else f"{value:.3g} %"


def _duration(value: float) -> str:
    if not value:
        return "0"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 2 * _MINUTE_S:
        return f"{value:.3g} s"
    if value < 2 * _HOUR_S:
        return f"{value / _MINUTE_S:.3g} min"
    return f"{timedelta(seconds=float(value)) / timedelta(hours=1):.3g} h"
