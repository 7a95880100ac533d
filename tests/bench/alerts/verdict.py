"""What a detector found of what was planted, and what it said that was not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from baselines import Fired
from synthetic_year import HOURS, WARM_UP_H, WEEK, Episode, SyntheticYear

#: Expected events below which an episode is not counted: three times as many, or none, may come by
#: chance too often. Clumps of three make 20 independent ones of them, and a Poisson process that
#: expects 20 shows none once in 10**9 windows and 45 once in 10**6; a year has 10**5 of a pair.
EVENTS_MIN = 60

#: How long after an episode's end it may still be told of.
GRACE_H = 24
#: What is told within this time after an episode is of the same incident: neither right nor wrong.
_AFTERMATH_H = 72
#: A level shift is news for so long; then it is the new usual.
_SHIFT_H = 2 * WEEK
#: Alerts with less than this between them are one that stayed open.
_MERGE_H = 24
#: How long a shift is looked back at: then what is told is of something else.
_AFTER_SHIFT_H = 3 * WEEK
DAY_H = 24


def is_asked(episode: Episode) -> bool:
    """Whether the requirement is about it: 3x spikes and full silence, not too small to tell."""
    return episode.expected_events >= EVENTS_MIN and (
        (episode.kind, episode.factor) == ("spike", 3.0) or episode.kind == "silence"
    )


@dataclass
class Verdict:
    """Every episode with whether it was found; false alerts are openings."""

    episodes: list[tuple[Episode, str, bool]] = field(default_factory=list)
    false: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    delays_h: list[float] = field(default_factory=list)
    days: float = 0

    def share(self, of: Callable[[Episode], bool]) -> list[bool]:
        """Whether each of these episodes was found."""
        return [found for each, _, found in self.episodes if of(each)]

    @property
    def false_alerts(self) -> int:
        """All of them."""
        return sum(self.false.values())

    @property
    def per_10_000_days(self) -> float:
        """False alerts for 10 000 (customer, meter, day)."""
        return self.false_alerts / max(self.days, 1) * 10_000

    @property
    def required(self) -> list[bool]:
        """Of what the requirement names, over whole days."""
        return self.share(lambda each: is_asked(each) and each.lasts_h >= DAY_H)

    @property
    def recall(self) -> float:
        """Share of `required` that was found."""
        return sum(self.required) / max(len(self.required), 1)

    @property
    def precision(self) -> float:
        """Episodes of any kind that were found, by these and false alerts."""
        found = sum(found for _, _, found in self.episodes)
        return found / max(found + self.false_alerts, 1)

    def add(self, year: SyntheticYear, pair: int, fired: Fired) -> None:
        """Judge one pair."""
        begins = year.begins[pair] + WARM_UP_H
        self.days += max(HOURS - begins, 0) / 24
        episodes = [each for each in year.episodes if each.pair == pair]
        seen: dict[int, float] = {}
        for is_up, hours in ((True, fired.up), (False, fired.down)):
            opened = -_MERGE_H - 1.0
            for hour in sorted(float(each) for each in hours):
                at = _episode(episodes, hour)
                if at is not None and episodes[at].is_up == is_up:
                    if hour <= _end(episodes[at]) + GRACE_H:
                        seen.setdefault(at, hour - episodes[at].start)
                elif at is None and hour > begins and hour - opened > _MERGE_H:
                    self.false[f"{year.shapes[pair]} {year.sizes[pair]}"] += 1
                opened = hour
        for at, each in enumerate(episodes):
            self.episodes.append((each, f"{year.shapes[pair]} {year.sizes[pair]}", at in seen))
        self.delays_h += seen.values()


def _end(episode: Episode) -> int:
    return episode.start + _SHIFT_H if episode.kind == "shift" else episode.end


def _episode(episodes: list[Episode], hour: float) -> int | None:
    for at, each in enumerate(episodes):
        after = _AFTER_SHIFT_H if each.kind == "shift" else _AFTERMATH_H
        if each.start < hour <= _end(each) + after:
            return at
    return None
