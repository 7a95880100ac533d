"""Kills the workers of a run at random moments while its load goes on, and replaces them."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from loadtest.figures import Figure
from loadtest.workers import KILLS_ITSELF, Workers

#: Of those that replace others: how many kill themselves at a step of a write.
_AT_A_STEP = 0.5
_STEPS, _FLUSHES = (1, 2, 3, 4), 20
#: How long a flush may be while workers catch up: none is to reach more of them than it lives for.
_FLUSH_S = 3.0
_SPREAD = (0.5, 1.5)
_CHECK_S = 0.5


@contextmanager
def killed(workers: Workers, *, every_s: float, lasts_s: float, seed: int) -> Iterator["Killing"]:
    """Workers are killed while the context lasts, for `lasts_s` seconds at most."""
    killing = Killing(workers, pause_s=every_s, lasts_s=lasts_s, seed=seed)
    try:
        yield killing
    finally:
        killing.stop()


class Killing:
    """A thread that kills one worker every `pause_s` seconds, half as long to half as long again.

    Half of the workers that are started instead end themselves with SIGKILL, right before one of
    the four steps of one of their first flushes; the others are killed wherever they are. After
    `lasts_s` nobody is killed any more, and workers that would still kill themselves are replaced.
    """

    def __init__(self, workers: Workers, *, pause_s: float, lasts_s: float, seed: int) -> None:
        """Begin; `workers` run."""
        self.kills = 0
        self._workers = workers
        self._pause_s = pause_s
        self._random = Random(seed)
        self._ends_s = time.monotonic() + lasts_s
        self._is_over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="killing", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises `CommandFailed` when a worker ended otherwise, or what came of starting one."""
        if self._failure is not None:
            raise self._failure

    def relent(self) -> None:
        """From now on nobody is killed any more, as when the time is over."""
        self._ends_s = min(self._ends_s, time.monotonic())

    def stop(self) -> None:
        """End it now, if it has not ended."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._is_over.wait(self._next_s()) and time.monotonic() < self._ends_s:
                self._kill_one()
            self.kills += self._workers.replace_armed()
            while not self._is_over.wait(_CHECK_S):
                self._workers.check_alive()
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._failure = error

    def _next_s(self) -> float:
        pause_s = self._pause_s * self._random.uniform(*_SPREAD)
        return max(min(pause_s, self._ends_s - time.monotonic()), 0.0)

    def _kill_one(self) -> None:
        ended = self._workers.drop_killed()
        if not ended:
            self._workers.kill(self._random.randrange(len(self._workers.pids)))
        for _ in range(ended or 1):
            self._workers.start(**self._armed())
            self.kills += 1

    def _armed(self) -> dict[str, str]:
        if self._random.random() >= _AT_A_STEP:
            return {}
        most = min(max(int(self._pause_s / _FLUSH_S), 1), _FLUSHES)
        step, flush = self._random.choice(_STEPS), self._random.randint(1, most)
        return {KILLS_ITSELF: f"{step}:{flush}"}


@dataclass(frozen=True)
class Watchable:
    """The process ids to watch, and what raises when one of our workers has ended by itself.

    Of workers that are killed nothing is watched: they live for seconds.
    """

    pids: Mapping[str, int]
    check: Callable[[], None] = lambda: None
    killing: Killing | None = None

    def figures(self) -> list[Figure]:
        """What belongs into the report."""
        if self.killing is None:
            return []
        return [Figure("workers killed", self.killing.kills, "workers", "SIGKILL, and replaced")]
