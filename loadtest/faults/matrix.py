"""Runs cells one after the other, and kills workers at random; what came of each, as a table."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from loadtest.faults.cells import FAULTS, STEPS, TARGETS, WORKERS, Cell
from loadtest.faults.hurt_servers import HurtServers
from loadtest.faults.hurting import PATIENCE_S, expect_refusal, hurt
from loadtest.faults.world import World
from loadtest.meterline import CommandFailed
from loadtest.produce import NotDelivered

_RATE = 1_000
#: Before the worker reaches its step, and from then on.
_EVENTS_BEFORE, _EVENTS_AFTER = 4_000, 3_000
_FLUSH_MAX = 4
#: A world grows: what is read again, and what is compared.
_CELLS_PER_WORLD = 8
KILLS_PER_ROUND, _EVENTS_PER_KILL = 25, 2_000
_KILL_WORKERS = 3
_BETWEEN_KILLS_S = (0.3, 2.0)
#: Of the workers that are killed: how many kill themselves at a step, others at any moment.
_AT_A_STEP = 0.5


@dataclass(frozen=True)
class Result:
    """What came of one cell or one round of kills; `problems` is empty where all is right."""

    name: str
    seed: int
    events: int
    kills: int
    seconds: float
    problems: Sequence[str]

    @property
    def verdict(self) -> str:
        """For the table."""
        return f"{len(self.problems)} problems" if self.problems else "exact"


class Matrix:
    """Runs cells on `servers`, from one seed; what they leave behind goes to `folder`."""

    def __init__(self, servers: HurtServers, folder: Path, *, seed: int) -> None:
        """Nothing is made yet."""
        self._servers = servers
        self._folder = folder
        self._seed = seed
        self._world: World | None = None
        self._worlds = 0

    def run(self, cells: Iterable[Cell]) -> Generator[Result]:
        """One result a cell; one that fails does not keep the others from running."""
        try:
            for cell in cells:
                random = Random(f"{self._seed}:{cell.name}")
                kills = int(cell.fault in {"kill", "wiped"})
                work = partial(_run_cell, cell=cell, random=random)
                is_last = (cell.target, cell.fault) == ("kafka", "wiped")
                yield self._checked(cell.name, self._seed, kills=kills, work=work, is_last=is_last)
        finally:
            self._leave()

    def kill(self, kills: int) -> Generator[Result]:
        """So many workers killed with SIGKILL, in rounds of `KILLS_PER_ROUND`, each checked."""
        try:
            for number, first in enumerate(range(0, kills, KILLS_PER_ROUND), start=1):
                count, seed = min(KILLS_PER_ROUND, kills - first), self._seed + number
                work = partial(_run_kills, kills=count, random=Random(seed))
                yield self._checked(f"kills {number}", seed, kills=count, work=work, is_last=True)
        finally:
            self._leave()

    def _checked(
        self, name: str, seed: int, *, kills: int, work: Callable[[World], list[str]],
        is_last: bool,
    ) -> Result:  # fmt: skip
        """What `work` finds in the world that stands, or another; what it raises is a problem.

        `is_last`: the world is of no use for other cells. Nor is one in which something went wrong.
        """
        began, before = time.monotonic(), 0
        try:
            world = self._entered(seed)
            before = world.produced
            world.begin(name)
            problems = work(world)
        except (CommandFailed, NotDelivered, KafkaException, ClickHouseError, OSError) as error:
            problems = [f"{type(error).__name__}: {error}"]
        events = 0 if self._world is None else self._world.produced - before
        if problems or is_last:
            self._leave()
        return Result(name, seed, events, kills, time.monotonic() - began, problems)

    def _entered(self, seed: int) -> World:
        if self._world is not None and self._world.cells >= _CELLS_PER_WORLD:
            self._leave()
        if self._world is None:
            self._servers.up()
            self._worlds += 1
            folder = self._folder / f"world-{self._worlds}"
            self._world = World(self._servers, folder, seed=seed, rate=_RATE)
        return self._world

    def _leave(self) -> None:
        if self._world is not None:
            self._world.close()
        self._world = None


def _run_cell(world: World, *, cell: Cell, random: Random) -> list[str]:
    """Problems; the victim is frozen at its step in one of its first flushes with events."""
    is_lost = (cell.target, cell.fault) == ("kafka", "wiped")
    world.allow(_EVENTS_BEFORE)
    with world.producing(is_lost=is_lost):
        nth = random.randint(1, _FLUSH_MAX)
        at = {"METERLINE_FREEZE_BEFORE_STEP": f"{cell.step}:{nth}"}
        victim = world.start_worker(**at)
        for _ in range(cell.workers - 1):
            world.start_worker()
        victim.wait_frozen(PATIENCE_S)
        world.allow(_EVENTS_AFTER)
        hurt(world, cell, victim=victim)
    if is_lost:
        return expect_refusal(world)
    return _reckoned(world)


def _run_kills(world: World, *, kills: int, random: Random) -> list[str]:
    """Problems; workers are killed and replaced under load, and in the end one is left."""
    world.allow(kills * _EVENTS_PER_KILL)
    with world.producing():
        alive = [world.start_worker() for _ in range(_KILL_WORKERS)]
        world.wait_shared(_KILL_WORKERS, patience_s=PATIENCE_S)
        for _ in range(kills):
            time.sleep(random.uniform(*_BETWEEN_KILLS_S))
            killed = alive.pop(random.randrange(len(alive)))
            if killed.code is None:
                killed.kill()
            variables = {}
            if random.random() < _AT_A_STEP:
                step, nth = random.choice(STEPS), random.randint(1, 20)
                variables["METERLINE_KILL_BEFORE_STEP"] = f"{step}:{nth}"
            alive.append(world.start_worker(**variables))
    world.start_worker()  # all others may be such that kill themselves
    return _reckoned(world)


def _reckoned(world: World) -> list[str]:
    """Problems; a worker that has crashed is one, however right the numbers are without it.

    Whatever is hurt, a worker goes on by itself: it ends when it is killed or asked to, or when it
    is broken.
    """
    try:
        world.wait_accounted(world.produced, patience_s=PATIENCE_S)
        world.wait_durable(patience_s=PATIENCE_S)
        problems = world.differences()
    except CommandFailed as error:
        problems = [f"{type(error).__name__}: {error}"]
    return [worker.crash for worker in world.workers if worker.crash] + problems


def grid(results: Sequence[Result]) -> list[str]:
    """Cells as Markdown: a row for each target and fault, a column for each step and workers."""
    found = {each.name: f"{each.verdict}, {each.seconds:.0f} s" for each in results}
    columns = list(product(STEPS, WORKERS))
    lines = [
        "| hurt | " + " | ".join(f"step {step}, of {workers}" for step, workers in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for target, fault in product(TARGETS, FAULTS):
        cells = [Cell(target, fault, *column).name for column in columns]
        if any(name in found for name in cells):
            row = " | ".join(found.get(name, "-") for name in cells)
            lines.append(f"| {target}:{fault} | {row} |")
    return lines


def table(results: Sequence[Result]) -> list[str]:
    """As Markdown, a row for each."""
    rows = [
        f"| {each.name} | {each.seed} | {each.events:,} | {each.kills} | {each.seconds:.0f} |"
        f" {each.verdict} |"
        for each in results
    ]
    head = ["| cell | seed | events | kills | seconds | totals, charges, verify |"]
    return [*head, "| --- | ---: | ---: | ---: | ---: | --- |", *rows]
