"""What a detector found of what was planted, and what it said that was not there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from baselines import Fired
from synthetic_year import HOURS, WARM_UP_H, WEEK, Episode, SyntheticYear

#: How long after an episode's end it may still be told of.
GRACE_H = 24
#: What is told within this time after an episode is of the same incident: neither right nor wrong.
_AFTERMATH_H = WEEK + GRACE_H
#: A level shift is news for so long; then it is the new usual.
_SHIFT_H = 2 * WEEK
#: Alerts with less than this between them are one that stayed open.
_MERGE_H = 24


@dataclass
class Verdict:
    """Found or not by (kind, factor) and by (kind, size); false alerts are openings."""

    by_kind: dict[tuple[str, float], list[bool]] = field(default_factory=lambda: defaultdict(list))
    by_size: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    false: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    delays_h: list[int] = field(default_factory=list)
    days: float = 0

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
        """Of what the requirement names: 3x spikes and full silence."""
        return self.by_kind[("spike", 3.0)] + self.by_kind[("silence", 0.0)]

    @property
    def recall(self) -> float:
        """Share of `required` that was found."""
        return sum(self.required) / max(len(self.required), 1)

    @property
    def precision(self) -> float:
        """Episodes of any kind that were found, by these and false alerts."""
        found = sum(sum(each) for each in self.by_kind.values())
        return found / max(found + self.false_alerts, 1)

    def add(self, year: SyntheticYear, pair: int, fired: Fired) -> None:
        """Judge one pair."""
        begins = year.begins[pair] + WARM_UP_H
        self.days += max(HOURS - begins, 0) / 24
        episodes = [each for each in year.episodes if each.pair == pair]
        seen: dict[int, int] = {}
        for is_up, hours in ((True, fired.up), (False, fired.down)):
            opened = -_MERGE_H - 1
            for hour in sorted(int(each) for each in hours):
                at = _episode(episodes, hour)
                if at is not None and episodes[at].is_up == is_up:
                    if hour <= _end(episodes[at]) + GRACE_H:
                        seen.setdefault(at, hour - episodes[at].start)
                elif at is None and hour > begins and hour - opened > _MERGE_H:
                    self.false[f"{year.shapes[pair]} {year.sizes[pair]}"] += 1
                opened = hour
        for at, each in enumerate(episodes):
            self.by_kind[each.kind, each.factor].append(at in seen)
            self.by_size[each.kind, year.sizes[pair]].append(at in seen)
        self.delays_h += seen.values()


def _end(episode: Episode) -> int:
    return episode.start + _SHIFT_H if episode.kind == "shift" else episode.end


def _episode(episodes: list[Episode], hour: int) -> int | None:
    for at, each in enumerate(episodes):
        after = 9 * WEEK if each.kind == "shift" else _AFTERMATH_H
        if each.start < hour <= _end(each) + after:
            return at
    return None
