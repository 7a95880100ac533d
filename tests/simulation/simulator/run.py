"""One seed, one run: work and faults in the order of the seed, then peace, then the check."""

from bisect import bisect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from random import Random

from simulator.adopt_model import LOCK_MS
from simulator.clickhouse_model import ClickHouseServer
from simulator.group_model import Group, Place
from simulator.oracle import Oracle, Problems, contents
from simulator.producers import Producers
from simulator.redis_model import RedisServer
from simulator.traffic import START_MS, draw_plan
from simulator.turns import THEMES, Turns, draw_faults
from simulator.worker_model import Parts, Process, Servers, act

_ROUNDS_MAX = 60
_TRIES = 4  # moves that are drawn until one can be made


@dataclass(slots=True)
class Result:
    """How a run ended.

    `is_excused`: after a write slipped (rule 5) totals differ from raw, or a replay judges copies
    anew.
    """

    seed: int
    problems: Problems
    is_excused: bool = False
    counts: dict[str, int] = field(default_factory=dict)


class Run:
    """The servers, the workers, and what happens to them."""

    def __init__(self, seed: int, parts: Parts | None = None, theme: str | None = None) -> None:
        """Nothing has happened yet; without a theme the seed chooses one."""
        self.seed = seed
        self.rng = rng = Random(seed)
        theme = theme or rng.choice(THEMES)
        self.plan = plan = draw_plan(rng, theme)
        self.turns = turns = Turns(rng, draw_faults(rng, theme), now_ms=START_MS)
        turns.others = self._others
        partitions, self._to_reveal = Producers(rng, plan).log()
        self._to_reveal.reverse()
        self.servers = Servers(
            turns,
            {part.number: part for part in partitions},
            Group(turns, {part.number: Place() for part in partitions}),
            RedisServer(turns),
            ClickHouseServer(turns),
            plan.window_ms,
            parts or Parts(),
        )
        self.servers.clickhouse.totals_are_torn = self.servers.parts.totals_are_torn
        self.servers.clickhouse.totals_are_added = self.servers.parts.totals_are_added
        self.workers: list[Process | None] = [None] * (
            2 if theme == "twins" else rng.choice([1, 2, 2, 3])
        )
        self.counts: dict[str, int] = {}
        self._steps = 0
        self._losses_due: list[int] = []  # steps at which Redis will be lost
        weights = self._moves_of_run()
        self._borders = list(accumulate(weights.values()))
        self._moves: list[tuple[str, Callable[[], bool]]] = [
            (name, getattr(self, f"_{name}")) for name in weights
        ]

    def go(self) -> Result:
        """The whole of it."""
        for _ in range(len(self._to_reveal) * 6 + 60):
            self._step()
        self._count_what_was_met()
        self._settle()
        oracle = Oracle(self.servers.log.values())
        redis = self.servers.redis
        problems = oracle.check(self.servers.clickhouse.tables, is_strict=not redis.losses)
        if not redis.losses and self.servers.clickhouse.rewritten:
            problems.totals.append(f"rewritten: {self.servers.clickhouse.rewritten[0]}")
        may_slip = bool(
            redis.losses and self.servers.slipped and not self.servers.kept and oracle.has_cross
        )
        if problems:
            return Result(self.seed, problems, may_slip and not problems.raw, self.counts)
        before = deepcopy(self.servers.clickhouse.tables) if may_slip else None
        problems = self._replay()
        # A copy that was judged by a claim that was lost is judged by raw history now.
        is_anew = bool(
            before and problems.places and not (problems.raw or problems.totals)
            and oracle.judges_anew(before, self.servers.clickhouse.tables)
        )  # fmt: skip
        return Result(self.seed, problems, is_anew, self.counts)

    def _count_what_was_met(self) -> None:
        places, log = self.servers.group.places, self.servers.log
        self.counts |= self.turns.met
        self.counts["losses"] = self.servers.redis.losses
        self.counts["slipped"] = len(self.servers.slipped)
        self.counts["offsets"] = sum(part.offsets[-1] + 1 for part in log.values() if part.offsets)
        self.counts["committed"] = sum(place.committed or 0 for place in places.values())

    def _replay(self) -> Problems:
        """A fresh worker reads everything again; nothing may change."""
        before = contents(self.servers.clickhouse.tables)
        for place in self.servers.group.places.values():
            place.committed = None
        if self.rng.random() < 0.3:
            self.servers.redis.wipe(is_restart=True)
        self.workers = [None]
        self._settle()
        after = contents(self.servers.clickhouse.tables)
        problems = Problems()
        if before != after:
            names = ("raw", "totals", "duplicates", "rejected", "suppressed", "gaps")
            for name, old, new in zip(names, before, after, strict=True):
                if old != new:
                    told = {"raw": problems.raw, "totals": problems.totals}.get(
                        name, problems.places
                    )
                    told.append(f"a replay changed {name}: {old} -> {new}")
        return problems

    def _settle(self) -> None:
        """Faults are over: whatever was sent arrives, all that is left is read and written."""
        turns, group = self.turns, self.servers.group
        turns.is_calm = True
        for land in turns.landing:
            land()
        turns.landing = []
        while self._to_reveal:
            self._reveal()
        for _ in range(_ROUNDS_MAX):
            turns.now_ms += LOCK_MS // 4
            self._start_all()
            group.assign_free(self.rng)
            for worker in self._up():
                act(turns, worker, partial(worker.poll, count_max=60))
            for worker in self._up():
                act(turns, worker, worker.finish)
            for worker in self._up():
                if all(self._is_done(number) for number in group.places):
                    act(turns, worker, worker.close)
            if all(self._is_done(number) for number in group.places):
                return
        positions = {n: (p.committed, self.servers.log[n].end) for n, p in group.places.items()}
        msg = f"does not come to an end: committed and end {positions}"
        raise AssertionError(msg)

    def _is_done(self, number: int) -> bool:
        end = self.servers.log[number].end
        return not end or self.servers.group.places[number].committed == end

    def _up(self) -> list[Process]:
        return [worker for worker in self.workers if worker is not None and worker.is_up]

    def _start_all(self) -> None:
        for at, worker in enumerate(self.workers):
            if worker is None or worker.is_dead:
                self.workers[at] = fresh = Process(self.servers)
                act(self.turns, fresh, fresh.start)

    def _others(self, is_hot: bool) -> None:
        """While a main thread waits for an answer; a hot one is hit by what others write."""
        if is_hot and self.rng.random() < 0.7:
            heads = [w.writer.head() for w in self._up() if w.is_writing()]
            if heads and (head := self.rng.choice(heads)) is not None:
                head.advance(1 + self.turns.below(2))
            else:
                self._land()
            return
        for _ in range(1 + self.turns.below(6)):
            self._step()

    def _step(self) -> None:
        """Anything may happen next."""
        turns = self.turns
        turns.now_ms += turns.below(400)
        self._steps += 1
        if self._losses_due and self._losses_due[0] <= self._steps:
            self._losses_due.pop()
            self.servers.redis.wipe(is_restart=False)
        for worker in self.workers:
            if worker is not None and worker.asleep:
                worker.asleep -= 1
        for _ in range(_TRIES):
            at = bisect(self._borders, turns.rng.random() * self._borders[-1])
            name, move = self._moves[at]
            if move():
                self.counts[name] = self.counts.get(name, 0) + 1
                return

    def _moves_of_run(self) -> dict[str, float]:
        rng = self.rng
        ordinary = {
            "reveal": rng.choice([5.0, 20.0, 60.0]), "work": 60.0, "background": 50.0,
            "land": rng.choice([1.0, 8.0]), "assign": 12.0,
        }  # fmt: skip
        return {**ordinary, **self.turns.faults.events}

    # Moves: each says whether it did anything.

    def _reveal(self) -> bool:
        if not self._to_reveal:
            return False
        for _ in range(min(1 + self.turns.below(4), len(self._to_reveal))):
            part = self.servers.log[self._to_reveal.pop()]
            self.turns.now_ms = max(self.turns.now_ms, part.times_ms[part.revealed])
            part.revealed += 1
        return True

    def _work(self) -> bool:
        """The main thread of some worker does the next thing."""
        at = self.turns.below(len(self.workers))
        worker = self.workers[at]
        if worker is None or worker.is_dead:
            self.workers[at] = fresh = Process(self.servers)
            act(self.turns, fresh, fresh.start)
            return True
        if worker.is_busy or worker.asleep:
            return False
        if worker.inbox and self.rng.random() < 0.8:
            act(self.turns, worker, worker.take)
            return True
        if not worker.has_news() and self.rng.random() < 0.8:
            return False
        act(self.turns, worker, lambda: worker.poll(count_max=6))
        return True

    def _background(self) -> bool:
        """A claim or a flush that is under way makes some calls."""
        tasks = [task for w in self._up() if not w.asleep for task in w.tasks()]
        if not tasks:
            return False
        turns = self.turns
        tasks[turns.below(len(tasks))].advance(1 + turns.below(turns.faults.burst_max))
        return True

    def _land(self) -> bool:
        landing = self.turns.landing
        if landing:
            landing.pop(self.rng.randrange(len(landing)))()
            return True
        return False

    def _assign(self) -> bool:
        return self.servers.group.assign_free(self.rng)

    def _rebalance(self) -> bool:
        return self.servers.group.move_one(self.rng)

    def _kill(self) -> bool:
        worker = self._any_up()
        if worker is not None:
            worker.kill()
        return worker is not None

    def _expel(self) -> bool:
        worker = self._any_up()
        if worker is not None:
            worker.expel()
            worker.asleep = self.rng.randint(0, 100)
        return worker is not None

    def _loss_while_writing(self) -> bool:
        """One worker stands still with an insert that its fence let through; Redis is lost."""
        worker = self._any_up()
        if worker is None or not worker.is_writing():
            return False
        worker.asleep = self.rng.randint(20, 80)
        self.servers.redis.wipe(is_restart=self.rng.random() < 0.5)
        return True

    def _loss_after_move(self) -> bool:
        """One worker stands still with batches that it read while its partitions move on, another
        with what it claimed; then Redis is lost, and both go on.
        """
        readers = [worker for worker in self._up() if worker.has_read()]
        if not readers or self._losses_due:
            return False
        reader = self.rng.choice(readers)
        reader.expel()
        reader.asleep = self.rng.randint(50, 70)
        claimers = [worker for worker in self._up() if worker is not reader and worker.is_waiting()]
        if claimers:
            self.rng.choice(claimers).asleep = self.rng.randint(60, 100)
        self.servers.group.assign_free(self.rng)
        self._losses_due.append(self._steps + self.rng.randint(25, 45))
        return True

    def _move_while_writing(self) -> bool:
        """One worker stands still with such an insert; its partitions go to others."""
        worker = self._any_up()
        if worker is None or not worker.is_writing():
            return False
        worker.asleep = self.rng.randint(5, 80)
        worker.expel()
        self.servers.group.assign_free(self.rng)
        return True

    def _pause(self) -> bool:
        worker = self._any_up()
        if worker is not None:
            worker.asleep = self.rng.randint(5, 60)
        return worker is not None

    def _any_up(self) -> Process | None:
        """A worker, rather one in the middle of a flush: that is where it hurts."""
        up = self._up()
        if not up:
            return None
        writing = [worker for worker in up if worker.is_writing()]
        return self.rng.choice(writing if writing and self.rng.random() < 0.8 else up)

    def _redis_restart(self) -> bool:
        self.servers.redis.restart(lost=0)
        return True

    def _redis_loses_last(self) -> bool:
        if self._is_dull():
            return False
        self.servers.redis.restart(lost=self.rng.choice([1, 3, 10, 100]))
        return True

    def _redis_loses_all(self) -> bool:
        if self._is_dull():
            return False
        self.servers.redis.wipe(is_restart=True)
        return True

    def _redis_flushed(self) -> bool:
        if self._is_dull():
            return False
        self.servers.redis.wipe(is_restart=False)
        return True

    def _is_dull(self) -> bool:
        """Nobody has claimed what is not written, so that little can go wrong; mostly not now."""
        return not any(worker.is_waiting() for worker in self._up()) and self.rng.random() < 0.9

    def _commits_lost(self) -> bool:
        for place in self.servers.group.places.values():
            place.committed = None
        return True

    def _lock_expires(self) -> bool:
        was_held = self.servers.redis.lock is not None
        self.servers.redis.lock = None
        return was_held


def run_seed(seed: int, parts: Parts | None = None, theme: str | None = None) -> Result:
    """Run one seed; `parts` may hold a planted bug."""
    return Run(seed, parts, theme).go()
