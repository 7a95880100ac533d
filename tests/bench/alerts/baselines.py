"""Three simple detectors, each at every threshold: what the real one has to be better than."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from synthetic_year import HOURS, SyntheticYear

#: Factors (ratios) and deviations (z-score) that are tried.
RATIOS = (1.5, 2, 3, 4, 6, 10, 20, 50, 200)
DEVIATIONS = (2, 3, 4, 5, 6, 8, 10, 15, 25)
_SMALL = 1e-9


class Fired(NamedTuple):
    """Hours at which a detector says up, and down, for one pair; parts of one as well."""

    up: NDArray[np.int64] | NDArray[np.float64]
    down: NDArray[np.int64] | NDArray[np.float64]


def dense(year: SyntheticYear, pair: int) -> NDArray[np.float64]:
    """Quantity of every hour of a pair."""
    found = np.zeros(HOURS)
    first, last = np.searchsorted(year.pair, [pair, pair + 1])
    found[year.hour[first:last]] = year.quantity[first:last]
    return found


def _ratio(now: NDArray[np.float64], before: NDArray[np.float64], factor: float) -> Fired:
    is_there = before > _SMALL
    up = is_there & (now > factor * before)
    down = is_there & (now * factor < before)
    return Fired(np.flatnonzero(up) + 1, np.flatnonzero(down) + 1)


def previous_hour(quantity: NDArray[np.float64]) -> Iterator[Fired]:
    """This hour by the one before."""
    before = np.concatenate([[0], quantity[:-1]])
    for factor in RATIOS:
        yield _ratio(quantity, before, factor)


def previous_period(quantity: NDArray[np.float64]) -> Iterator[Fired]:
    """The last 24 hours by the 24 before."""
    total = np.concatenate([[0], np.cumsum(quantity)])
    day = total - np.concatenate([np.zeros(24), total[:-24]])
    now, before = day[1:], np.concatenate([np.zeros(24), day[1:-24]])
    for factor in RATIOS:
        yield _ratio(now, before, factor)


def fixed_z_score(quantity: NDArray[np.float64]) -> Iterator[Fired]:
    """This hour by mean and deviation of the last 28 days."""
    window = 28 * 24
    sums = np.concatenate([[0], np.cumsum(quantity)])
    squares = np.concatenate([[0], np.cumsum(quantity**2)])
    mean, spread = np.zeros(HOURS), np.full(HOURS, np.inf)
    mean[window:] = (sums[window:-1] - sums[: -window - 1]) / window
    second = (squares[window:-1] - squares[: -window - 1]) / window
    spread[window:] = np.sqrt(np.maximum(second - mean[window:] ** 2, _SMALL))
    z = (quantity - mean) / spread
    for limit in DEVIATIONS:
        yield Fired(np.flatnonzero(z > limit) + 1, np.flatnonzero(z < -limit / 3) + 1)


BASELINES = {
    "previous hour ratio": previous_hour,
    "fixed z-score": fixed_z_score,
    "previous period total": previous_period,
}
