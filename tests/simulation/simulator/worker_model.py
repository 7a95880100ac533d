"""One worker process: the real steps, wired as `dataflows/worker.py` wires them, over the fakes."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dataflows.accounting import Accountant
from dataflows.assignments import Assignments
from dataflows.claim_queue import ClaimQueue
from dataflows.dedup import Decided, Deduplicator
from dataflows.flusher import Flusher
from dataflows.ledger import Ledger, LedgerPlan
from dataflows.resume import LogRange, resume_offset
from dataflows.totals_ahead import AheadLimits
from dataflows.watermark import Watermarks
from metering.batch import EventBatch, Source, Tick
from metering.errors import DependencyDown, TransientError
from metering.rejection import Rejection
from simulator.adopt_model import SEED, Adopter
from simulator.clickhouse_model import ClickHouseServer, SimClient, SimSink
from simulator.clickhouse_reads import SimReads
from simulator.group_model import Group
from simulator.redis_model import RedisServer, SimDedupStore
from simulator.tasks import Killed, SimExecutor, Task
from simulator.traffic import CATALOG, LATENESS, STREAM, Partition
from simulator.turns import Turns


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes under test; a planted bug puts another one in."""

    ledger: type[Ledger] = Ledger
    deduplicator: type[Deduplicator] = Deduplicator
    sink: type[SimSink] = SimSink
    store: type[SimDedupStore] = SimDedupStore
    totals_are_torn: bool = False
    totals_are_added: bool = False


@dataclass(slots=True)
class Servers:
    """What all workers share."""

    turns: Turns
    log: dict[int, Partition]
    group: Group
    redis: RedisServer
    clickhouse: ClickHouseServer
    window_ms: int
    parts: Parts = field(default_factory=Parts)
    slipped: list[str] = field(
        default_factory=list
    )  # inserts that landed after the memory was lost
    kept: bool = False  # a worker went on to a further step after that


class Process:
    """From adopting the memory to the first error, `kill` or `stop`."""

    def __init__(self, servers: Servers) -> None:
        """Nothing is connected before `start`."""
        self.is_dead = False
        self.is_busy = False
        self.is_up = False
        self.asleep = 0  # steps of the run that it does nothing for: SIGSTOP, a long swap
        self.positions: dict[Source, int] = {}
        self.inbox: deque[EventBatch | Tick] = deque()
        self._servers = servers
        self._turns = servers.turns
        self._member = 0
        self._revoked: list[int] = []
        self._at_end: set[Source] = set()
        self._late_steps: set[int] = set()

    def start(self) -> None:
        """Adopt the memory and build the steps. Raises `TransientError`."""
        servers, turns, rng = self._servers, self._turns, self._turns.rng
        self.reads = SimReads(turns, servers.clickhouse)
        self.memory = Adopter(
            turns, servers.redis, self.reads, window_ms=servers.window_ms,
            store=servers.parts.store,
        ).adopt()  # fmt: skip
        self.assignments = Assignments()
        self.claimer, self.writer, self.reader = (SimExecutor(turns) for _ in range(3))
        self.ledger = servers.parts.ledger(
            CATALOG, self.reads, units_max=rng.choice([1, 3, 1000]),
            windows_max=rng.choice([0, 0, 9, 1000]), executor=self.reader,
        )  # fmt: skip
        self.ledger.ahead_limits = AheadLimits(
            keys_min=rng.choice([1, 1, 4, 256]), rows_max=rng.choice([0, 2, 1000, 1000])
        )
        self.claims = ClaimQueue(
            servers.parts.deduplicator(CATALOG, self.memory, self.reads, SEED), self._is_current,
            in_flight_max=rng.choice([1, 4]), executor=self.claimer,
        )  # fmt: skip
        sink = servers.parts.sink(
            SimClient(turns, servers.clickhouse, on_send=self._on_send, on_land=self._on_land),
            self.memory, self, self, still_ours=self._is_current,
        )  # fmt: skip
        wait_ms = rng.choice([lambda: 0, lambda: 2000])
        self.flusher = Flusher(
            self.ledger, sink, lambda: turns.now_ms, rows_max=rng.choice([1, 4, 10, 30]),
            wait_ms=wait_ms, is_current=self._is_current, executor=self.writer,
        )  # fmt: skip
        self.accountant = Accountant(
            self.ledger, Watermarks(LATENESS), self.flusher, is_current=self._is_current
        )
        self._member = servers.group.join()
        self.is_up = True

    def tasks(self) -> list[Task]:
        """What its background threads are at."""
        if not self.is_up:
            return []
        heads = [self.claimer.head(), self.writer.head(), self.reader.head()]
        return [head for head in heads if head is not None]

    def is_writing(self) -> bool:
        """Whether it is about to insert what its fence let through."""
        head = self.writer.head() if self.is_up else None
        return head is not None and head.next_call in ("usage_events", "usage_totals")

    def is_waiting(self) -> bool:
        """Whether anything that it claimed is not written yet."""
        return self.is_up and (self.flusher.is_gathering or bool(self.tasks()))

    def has_read(self) -> bool:
        """Whether it holds batches that it has not claimed for."""
        if not self.is_up:
            return False
        head = self.claimer.head()
        return (head is not None and not head.is_begun) or any(
            isinstance(item, EventBatch) for item in self.inbox
        )

    def has_news(self) -> bool:
        """Whether a poll would give messages or another assignment."""
        group, log = self._servers.group, self._servers.log
        held = {source.partition: at for source, at in self.positions.items()}
        return set(group.assigned(self._member)) != set(held) or any(
            at < log[number].end for number, at in held.items()
        )

    def poll(self, *, count_max: int) -> None:
        """Step `source`: rebalance, then read a batch of some partitions, perhaps a tick."""
        turns, log = self._turns, self._servers.log
        self._rebalance()
        batches: list[EventBatch] = []
        for source in self.assignments.held():
            if not turns.is_calm and turns.rng.random() < 0.3:
                continue
            count = turns.rng.randint(1, count_max)
            batch = log[source.partition].read(source, self.positions[source], count)
            if batch is None:
                self._at_end.add(source)
                continue
            self._at_end.discard(source)
            self.positions[source] = batch.next_offset
            batches.append(batch)
        self.inbox.extend(batches)
        if not batches or turns.rng.random() < 0.3:
            self._at_end.intersection_update(self.assignments.held())
            ended = [source for source in self.assignments.held() if source in self._at_end]
            idle = tuple((source, self.positions[source]) for source in ended)
            self.inbox.append(Tick(turns.now_ms, idle))

    def take(self) -> None:
        """Steps `load`, `dedup` and `account` for the next item."""
        item: EventBatch | Tick | LedgerPlan = self.inbox.popleft()
        if isinstance(item, EventBatch):
            self._let_go()
            if not self.assignments.is_current(item.source):
                return
            item = self.ledger.load(item)
        decided: Sequence[Decided | LedgerPlan | Tick] = self.claims.step(item)
        self.accountant.step(decided)

    def finish(self) -> None:
        """Take what is in the inbox, then the last tick."""
        while self.inbox:
            self.take()
        self.inbox.append(Tick(self._turns.now_ms, last=True))
        self.take()

    def close(self) -> None:
        """After an error or at the end: wait for the calls under way, leave the group."""
        try:
            self.claims.close()
            self.ledger.close()
            self.flusher.close()
        finally:
            self._servers.group.leave(self._member)
            self.is_up = False
            self.is_dead = True

    def expel(self) -> None:
        """The coordinator has not heard of it for too long; it does not know yet."""
        self._servers.group.leave(self._member)

    def kill(self) -> None:
        """`kill -9`: what was sent may still arrive."""
        turns = self._turns
        for task in self.tasks():
            if turns.rng.random() < 0.5 and task is not turns.running:
                turns.land_later(partial(task.advance, 1))
        self._servers.group.leave(self._member)
        self.is_up = False
        self.is_dead = True

    def commit(self, positions: dict[Source, int]) -> None:
        """`Committer.commit`, as `KafkaReader` does it."""
        mine = {s.partition: at for s, at in positions.items() if self._is_current(s)}
        if mine:
            self._servers.group.commit(self._turns.local(lambda: self._member), mine)

    def send(self, rejected: list[tuple[Source, Rejection]]) -> None:
        """`RejectedTopic.send`."""

        def produce() -> None:
            if self._turns.strikes("topic_refused"):
                raise DependencyDown("kafka")

        assert rejected
        self._turns.call(produce)

    def _rebalance(self) -> None:
        group = self._servers.group
        is_lost = self._member not in group.members
        mine = [] if is_lost else group.assigned(self._member)
        for source in self.assignments.held():
            if source.partition not in mine:
                self.assignments.end(STREAM, source.partition)
                self.positions.pop(source, None)
                self._revoked.append(source.partition)
        group.release(self._member)
        if is_lost:
            self._member = group.join()
            return
        held = {source.partition for source in self.assignments.held()}
        for number in mine:
            if number not in held:
                self._assign(number)

    def _assign(self, number: int) -> None:
        committed = self._servers.group.committed(number)
        self._let_go()
        source = self.memory.begin(STREAM, number)
        durable = self.reads.next_offset(STREAM, number)
        log = LogRange(0, self._servers.log[number].end)
        start = resume_offset(str(number), committed=committed, durable=durable, log=log)
        self.assignments.start(source)
        self.positions[source] = start

    def _let_go(self) -> None:
        found, self._revoked = self._revoked, []
        for number in found:
            self.accountant.forget(STREAM, number)

    def _is_current(self, source: Source) -> bool:
        return self._turns.local(lambda: self.assignments.is_current(source))

    def _is_forgotten(self) -> bool:
        """Whether the memory that this worker claimed in is gone."""
        redis, first = self._servers.redis, self.memory.first_window
        newest = int(redis.shards[0].state.get("newest", 0))
        return redis.marker() != self.memory.marker or (first is not None and newest >= first + 2)

    def _on_send(self, table: str) -> None:
        """An insert reaches the server: of one step it may be too late, of two it must not."""
        if self._is_forgotten():
            self._late_steps.add(_STEP_OF.get(table, 1))
            self._servers.kept = self._servers.kept or len(self._late_steps) > 1

    def _on_land(self, table: str) -> None:
        if self._is_forgotten():
            self._servers.slipped.append(table)


#: Step of the sink by table; all others are written in the first.
_STEP_OF = {"usage_totals": 2, "watermarks": 3}


def act(turns: Turns, process: Process, move: Callable[[], None]) -> None:
    """One move of a process's main thread; an error of a server ends the process in good order."""
    before, turns.acting = turns.acting, process
    process.is_busy = True
    try:
        try:
            move()
        except TransientError:
            if process.is_up:
                process.close()
            process.is_dead = True
    except Killed:
        assert process.is_dead
    finally:
        process.is_busy = False
        turns.acting = before
