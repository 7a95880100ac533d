"""Queries as Grafana sends them: its variables and macros replaced, as it replaces them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

Values = str | Sequence[str]
ALL = "$__all"


@dataclass(frozen=True)
class Choice:
    """What a reader chose: values by variable (a text, or several), a range and a resolution."""

    start: datetime
    end: datetime
    interval_s: int
    values: Mapping[str, Values] = field(default_factory=dict)

    def given(self, **values: Values) -> Choice:
        """The same with other values."""
        return Choice(self.start, self.end, self.interval_s, {**self.values, **values})


def sql_of(text: str, choice: Choice) -> str:
    """SQL as the ClickHouse data source sends it.

    Raises `KeyError` for a variable that nobody chose, `ValueError` for a macro that it lacks.
    """
    found = _without_macros(_with_conditions(text, choice), choice)
    found = re.sub(
        r"\$\{(\w+)(?::(\w+))?\}|\$([a-z]\w*)",
        lambda match: _formatted(choice.values[match[1] or match[3]], match[2] or ""),
        found,
    )
    if "$" in found:
        msg = f"expected no variable or macro to be left, got: {found}"
        raise ValueError(msg)
    return found


def promql_of(text: str, choice: Choice) -> str:
    """PromQL as the Prometheus data source sends it. Raises as `sql_of`."""
    found = text.replace("$__rate_interval", f"{max(4 * choice.interval_s, 4)}s")
    found = re.sub(r"\$\{?([a-z]\w*)\}?", lambda match: _pattern(choice.values[match[1]]), found)
    if "$" in found:
        msg = f"expected no variable or macro to be left, got: {found}"
        raise ValueError(msg)
    return found


def text_of(text: str, choice: Choice) -> str:
    """A title with the values of its variables."""
    return re.sub(
        r"\$\{?([a-z]\w*)\}?", lambda match: _formatted(choice.values[match[1]], ""), text
    )


def _formatted(values: Values, how: str) -> str:
    texts = [values] if isinstance(values, str) else list(values)
    if how == "sqlstring":
        quoted = [text.replace("'", "''") for text in texts]
        return ",".join(f"'{text}'" for text in quoted)
    return ",".join(texts)


def _pattern(values: Values) -> str:
    return values if isinstance(values, str) else f"({'|'.join(values)})"


def _with_conditions(text: str, choice: Choice) -> str:
    """`$__conditionalAll(condition, $variable)` is true where all was chosen."""
    macro = "$__conditionalAll("
    while (at := text.rfind(macro)) >= 0:
        inside, end = _inside(text, at + len(macro))
        condition, _, variable = inside.rpartition(",")
        is_all = choice.values[variable.strip().strip("${}")] == ALL
        text = text[:at] + ("1=1" if is_all else condition) + text[end:]
    return text


def _without_macros(text: str, choice: Choice) -> str:
    start, end = (f"toDateTime({int(each.timestamp())})" for each in (choice.start, choice.end))
    makers: dict[str, Callable[[str], str]] = {
        "timeFilter": lambda column: f"{column} >= {start} AND {column} <= {end}",
        "timeInterval": lambda column: (
            f"toStartOfInterval(toDateTime({column}), INTERVAL {choice.interval_s} second)"
        ),
    }
    for name, make in makers.items():
        macro = f"$__{name}("
        while (at := text.find(macro)) >= 0:
            inside, after = _inside(text, at + len(macro))
            text = text[:at] + make(inside) + text[after:]
    return text.replace("$__fromTime", start).replace("$__toTime", end)


def _inside(text: str, start: int) -> tuple[str, int]:
    """Text up to the closing bracket of one that was opened before `start`; the place after it."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return text[start:at], at + 1
    msg = f"expected a closing bracket in {text[start:]}"
    raise ValueError(msg)
