"""Durations of configurations and rules, made shorter by one factor.

Tests want to see an alert fire in seconds. Everything that waits is divided by the same number,
so that the order of things stays what it is: what takes two evaluations still takes two.
"""

from __future__ import annotations

import re

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_KEYS = (
    "for", "interval", "scrape_interval", "scrape_timeout", "evaluation_interval",
    "refresh_interval", "group_wait", "group_interval", "repeat_interval",
)  # fmt: skip
_DURATION = re.compile(rf"(\b(?:{'|'.join(_KEYS)}): |\[)(\d+)([smhd])\b")


def squeezed(text: str, factor: int) -> str:
    """`text` with each duration, and each range of a query, divided by `factor`."""

    def shorter(match: re.Match[str]) -> str:
        before, number, unit = match.groups()
        return f"{before}{max(int(number) * _UNITS_MS[unit] // factor, 1)}ms"

    return text if factor == 1 else _DURATION.sub(shorter, text)
