"""A year of usage by hour for many (customer, meter) pairs, with what was planted and where.

Every pair draws its shape, size, growth and noise, then its episodes, from one seed. Episodes begin
in an hour with usage, and are of every size: also those that nobody can tell from chance. Each says
how many events were expected while it lasted; whoever judges decides what is too few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOURS = 52 * 168
WEEK = 168
#: Before it a pair has too little history to be compared with.
WARM_UP_H = 9 * WEEK
_SETTLE_H = 3 * WEEK

Hourly = NDArray[np.float64]

#: Name and how many of 100 pairs have it.
SHAPES = {
    "always": 34, "business": 26, "nightly": 10, "weekly": 6, "sparse": 14, "bursty": 10,
}  # fmt: skip
#: Kind of episode, its factor, how many of 100 episodes are such.
EPISODES = (
    ("spike", 2.0, 10), ("spike", 3.0, 22), ("spike", 5.0, 8), ("spike", 10.0, 8),
    ("drop", 0.5, 8), ("drop", 0.2, 10), ("silence", 0.0, 22), ("shift", 3.0, 6), ("shift", 0.3, 6),
)  # fmt: skip
#: How many of the runs of a nightly or weekly job begin an hour late.
_LATE_RUNS = 0.04
DURATIONS_H = (2, 4, 8, 24, 48, 96)


@dataclass(frozen=True, slots=True)
class Episode:
    """What was planted: from `start` (inclusive) until `end` (exclusive), hours of the year."""

    pair: int
    kind: str
    factor: float
    start: int
    end: int
    expected_events: float

    @property
    def lasts_h(self) -> int:
        """Its length."""
        return self.end - self.start

    @property
    def is_up(self) -> bool:
        """Whether there is more usage than expected."""
        return self.factor > 1


@dataclass(frozen=True)
class SyntheticYear:
    """Rows of all pairs with usage, by pair and hour, and the truth about them."""

    seed: int
    pair: NDArray[np.int32]
    hour: NDArray[np.int32]
    events: NDArray[np.int64]
    quantity: Hourly
    first_s: NDArray[np.int64]
    last_s: NDArray[np.int64]
    shapes: list[str]
    sizes: list[str]
    begins: list[int]
    episodes: list[Episode]


def _rhythm(shape: str, random: np.random.Generator) -> Hourly:
    """Expected share of each hour of the week; the greatest is 1."""
    hour, day = np.arange(WEEK) % 24, np.arange(WEEK) // 24
    if shape in ("always", "bursty"):
        peak, depth = random.uniform(0, 24), random.uniform(0.3, 0.8)
        weekend = random.uniform(0.5, 1)
        daily = 1 - depth * (1 - np.cos((hour - peak) * 2 * np.pi / 24)) / 2
        return np.where(day >= 5, weekend, 1) * daily
    if shape == "business":
        opens, closes = random.integers(6, 10), random.integers(16, 21)
        at_night = random.choice([0, 0, 0.02])
        return np.where((hour >= opens) & (hour < closes) & (day < 5), 1, at_night)
    if shape == "nightly":
        at, lasts = random.integers(0, 24), random.integers(1, 3)
        return np.where((hour - at) % 24 < lasts, 1, 0).astype(np.float64)
    if shape == "weekly":
        at, lasts = random.integers(0, WEEK), random.integers(1, 4)
        return np.where((np.arange(WEEK) - at) % WEEK < lasts, 1, 0).astype(np.float64)
    return np.where((hour >= 6) & (hour < 22), 1, random.uniform(0.1, 1))


def _size(shape: str, random: np.random.Generator) -> tuple[str, float]:
    """Its name, and events in the busiest hour."""
    if shape == "sparse":
        return "sparse", float(np.exp(random.uniform(np.log(0.05), np.log(0.6))))
    name = str(random.choice(["small", "medium", "large"], p=[0.35, 0.4, 0.25]))
    low, high = {"small": (3, 15), "medium": (15, 300), "large": (300, 20_000)}[name]
    if shape in ("nightly", "weekly"):
        low, high = low * 10, high * 10
    return name, float(np.exp(random.uniform(np.log(low), np.log(high))))


def _noise(random: np.random.Generator) -> Hourly:
    """A slow wander from day to day and a quick one from hour to hour, around 1."""
    keep, daily_spread = 0.7, random.uniform(0.04, 0.14)
    steps = random.normal(0, daily_spread * np.sqrt(1 - keep**2), HOURS // 24)
    daily = np.empty_like(steps)
    level = 0.0
    for at, step in enumerate(steps):
        level = keep * level + step
        daily[at] = level
    return np.exp(np.repeat(daily, 24) + random.normal(0, random.uniform(0.03, 0.12), HOURS))


def _expected(shape: str, *, busiest: float, begins: int, random: np.random.Generator) -> Hourly:
    """Events of each hour, before noise of single events."""
    hours = np.arange(HOURS)
    rhythm = _rhythm(shape, random)[hours % WEEK]
    if shape in ("nightly", "weekly"):  # a run starts an hour later now and then
        runs = np.cumsum((rhythm > 0) & (np.roll(rhythm, 1) == 0))
        is_late = random.random(runs[-1] + 1) < _LATE_RUNS
        moved = np.where(is_late[runs], rhythm, 0)
        rhythm = np.maximum(rhythm - moved, np.roll(moved, 1))
    growth = np.exp(np.log(random.uniform(0.7, 2.5)) * hours / HOURS)
    ramp = np.clip((hours - begins + 24) / (3 * WEEK), 0, 1) if begins else 1.0
    found = busiest * rhythm * growth * ramp * _noise(random)
    if shape == "bursty":
        found *= random.gamma(4, 1 / 4, HOURS)
    return np.where(hours >= begins, found, 0)


def _plant(
    pair: int, expected: Hourly, *, begins: int, random: np.random.Generator
) -> tuple[Hourly, list[Episode]]:
    """`expected` with episodes, three weeks or more from each other."""
    planted: list[Episode] = []
    factors = np.ones(HOURS)
    weights = np.array([each[2] for each in EPISODES], np.float64)
    total = np.concatenate([[0], np.cumsum(expected)])
    busy = np.flatnonzero(expected > expected.max() / 10)
    at = begins + WARM_UP_H + int(random.integers(0, 8 * WEEK))
    while at < HOURS - 3 * WEEK:
        later = busy[np.searchsorted(busy, at) :]
        if not len(later) or later[0] >= HOURS - 3 * WEEK:
            break
        at = int(later[0])
        kind, factor, _ = EPISODES[random.choice(len(EPISODES), p=weights / weights.sum())]
        end = HOURS if kind == "shift" else at + int(random.choice(DURATIONS_H))
        seen = min(end, at + WEEK)
        factors[at:end] *= factor
        planted.append(Episode(pair, kind, factor, at, end, float(total[seen] - total[at])))
        if kind == "shift":
            break
        at = end + _SETTLE_H + int(random.integers(0, 6 * WEEK))
    return expected * factors, planted


def synthetic_year(seed: int, *, pairs: int) -> SyntheticYear:
    """Make it; the same seed and number of pairs give the same."""
    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("pair", "hour", "events", "quantity", "first_s", "last_s")
    }
    shapes, sizes, starts, episodes = [], [], [], []
    names, parts = list(SHAPES), np.array(list(SHAPES.values()), np.float64)
    for pair in range(pairs):
        random = np.random.default_rng([seed, pair])
        shape = str(random.choice(names, p=parts / parts.sum()))
        size, busiest = _size(shape, random)
        begins = int(random.integers(WEEK, 40 * WEEK)) if random.random() < 0.12 else 0
        expected = _expected(shape, busiest=busiest, begins=begins, random=random)
        with_episodes, planted = _plant(pair, expected, begins=begins, random=random)
        clumps = random.uniform(1, 3)  # events come in clumps of about so many
        events = np.round(random.poisson(with_episodes / clumps) * clumps).astype(np.int64)
        at = np.flatnonzero(events)
        count = events[at]
        unit, spread = float(np.exp(random.uniform(-3, 6))), random.uniform(0, 1.5)
        mean = np.maximum(random.normal(1, spread / np.sqrt(count)), 0.05)
        edge = 3600 / (count + 1)
        found = {
            "pair": np.full(len(at), pair, np.int32), "hour": at.astype(np.int32),
            "events": count, "quantity": count * unit * mean,
            "first_s": np.minimum(random.exponential(edge), 3000).astype(np.int64),
            "last_s": 3599 - np.minimum(random.exponential(edge), 500).astype(np.int64),
        }  # fmt: skip
        for name, values in found.items():
            columns[name].append(np.asarray(values))
        shapes.append(shape)
        sizes.append("new " + size if begins else size)
        starts.append(begins)
        episodes += planted
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return SyntheticYear(
        seed, **joined, shapes=shapes, sizes=sizes, begins=starts, episodes=episodes
    )
