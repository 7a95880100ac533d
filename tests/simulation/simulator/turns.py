"""Whose turn it is: one seed decides the order of all calls, and which of them go wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar

from simulator.tasks import Killed, Task

T = TypeVar("T")

#: What may go wrong in a call, and how often where a run has it at all.
STRIKES = {
    "redis_refused": 0.02,
    "redis_reply_lost": 0.02,
    "query_refused": 0.01,
    "query_reply_lost": 0.01,
    "insert_refused": 0.05,
    "insert_torn": 0.5,
    "insert_late": 0.08,
    "insert_twice": 0.1,
    "insert_reply_lost": 0.08,
    "commit_refused": 0.1,
    "commit_reply_lost": 0.05,
    "topic_refused": 0.05,
}
#: What happens between calls, as weights beside 100 for all that is ordinary work.
EVENTS = {
    "kill": 1.0,
    "expel": 1.5,
    "pause": 2.0,
    "loss_while_writing": 1.0,
    "loss_after_move": 1.0,
    "move_while_writing": 1.0,
    "rebalance": 2.0,
    "redis_restart": 0.3,
    "redis_loses_last": 0.5,
    "redis_loses_all": 0.5,
    "redis_flushed": 0.5,
    "commits_lost": 0.4,
    "lock_expires": 0.5,
}


class Actor(Protocol):
    """A process whose main thread may be acting."""

    is_dead: bool


@dataclass(frozen=True, slots=True)
class Faults:
    """Which of `STRIKES` and `EVENTS` a run has, and how it divides its time."""

    strikes: dict[str, float]
    events: dict[str, float]
    interruption: float  # chance that others act before a call of a main thread
    burst_max: int  # calls that a background thread makes in one go, at most


#: What a run is about: anything, or where one kind of mistake would show.
THEMES = (
    "any", "any", "any", "windows", "twins", "twins", "twins", "zombies", "zombies", "ahead"
)  # fmt: skip
_STRIKES_OF: dict[str, dict[str, float]] = {
    "windows": {},
    "twins": {
        "commit_refused": 0.3,
        "insert_refused": 0.1,
        "insert_torn": 0.5,
        "redis_reply_lost": 0.05,
    },
    "zombies": {"insert_late": 0.1, "insert_twice": 0.1, "insert_reply_lost": 0.1},
    "ahead": {"insert_late": 0.4},
}
_EVENTS_OF: dict[str, dict[str, float]] = {
    "windows": {},
    "twins": {
        "pause": 4.0,
        "redis_loses_all": 0.8,
        "commits_lost": 0.3,
        "loss_while_writing": 3.0,
        "loss_after_move": 3.0,
    },
    "ahead": {"rebalance": 1.0, "move_while_writing": 8.0},
    "zombies": {"pause": 1.0, "expel": 1.0, "rebalance": 2.0, "move_while_writing": 8.0},
}


def draw_faults(rng: Random, theme: str) -> Faults:
    """A different mix for every run, so that each kind is also met alone."""
    interruption, burst_max = rng.choice([0.02, 0.1, 0.25]), rng.choice([2, 5, 12])
    if theme in _EVENTS_OF:
        strikes = {n: chance for n, chance in _STRIKES_OF[theme].items() if rng.random() < 0.5}
        events = {n: w * rng.choice([0.3, 1.0]) for n, w in _EVENTS_OF[theme].items()}
        return Faults(strikes, events, interruption, burst_max)
    share = rng.choice([0.15, 0.4, 0.8])
    force = rng.choice([0.5, 1.0, 3.0])
    return Faults(
        {name: chance for name, chance in STRIKES.items() if rng.random() < share},
        {name: weight * force for name, weight in EVENTS.items() if rng.random() < share},
        interruption, burst_max,
    )  # fmt: skip


class Turns:
    """The clock, the dice, and the one place through which every call to a server goes."""

    def __init__(self, rng: Random, faults: Faults, *, now_ms: int) -> None:
        self.rng = rng
        self.now_ms = now_ms
        self.running: Task | None = None
        self.acting: Actor | None = None
        self.is_calm = False
        self.met: dict[str, int] = {}  # how often each strike happened
        self.landing: list[Callable[[], None]] = []
        self.depth = 0
        self._faults = faults
        self.others: Callable[[bool], None] = lambda _is_hot: None

    @property
    def faults(self) -> Faults:
        """What may happen in this run."""
        return self._faults

    def below(self, limit: int) -> int:
        """0 .. limit-1, cheaply."""
        return int(self.rng.random() * limit)

    def call(self, do: Callable[[], T], *, is_hot: bool = False, label: str = "") -> T:
        """Ask a server: a task may stop here, a main thread may be interrupted here.

        It is hot where little time passes but much may go wrong; `label` says what a stopped
        task is about to do.
        """
        if self.running is not None:
            return self.running.call(do, label=label)
        self._interrupt(self._faults.interruption * (3 if is_hot else 1), is_hot=is_hot)
        return do()

    def local(self, do: Callable[[], T]) -> T:
        """Ask what only this process knows; in a task the answer is kept for its next run."""
        if self.running is not None:
            return self.running.call(do, is_server=False)
        return do()

    def wait_for(self, task: Task) -> None:
        """The main thread waits: others act, then the task gets some calls."""
        self._interrupt(0.5)
        if not task.finished:
            task.advance(1 + self.below(self._faults.burst_max))

    def strikes(self, kind: str) -> bool:
        """Whether this kind of fault happens now."""
        chance = self._faults.strikes.get(kind)
        if chance is None or self.is_calm or self.rng.random() >= chance:
            return False
        self.met[kind] = self.met.get(kind, 0) + 1
        return True

    def land_later(self, do: Callable[[], None]) -> None:
        """Something that was sent and takes effect at some later time."""
        self.landing.append(do)

    def _interrupt(self, chance: float, *, is_hot: bool = False) -> None:
        me = self.acting
        if self.is_calm or self.depth >= 2 or self.rng.random() >= chance:
            return
        self.depth += 1
        try:
            self.others(is_hot)
        finally:
            self.depth -= 1
            self.acting = me
        if me is not None and me.is_dead:
            raise Killed
