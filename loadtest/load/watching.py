"""Watches a load until all of it is durable: sent, durable, lag, latency, memory, CPU by second."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np
import psutil
from clickhouse_connect.driver.exceptions import ClickHouseError

from loadtest.load.latencies import Latencies, Milliseconds, percentile
from loadtest.load.sending import Done, Failed, Placed, Sent, Started, Word
from loadtest.load.tables import LoadTables
from loadtest.processes import (
    CpuReading,
    latest,
    memory_bytes,
    open_files,
    read_cpu,
    thread_count,
)

_POLL_S = 0.1
_SAMPLE_S = 1.0


class LoadFailed(Exception):
    """The load could not be run to its end; the text says why, and what to do."""


@dataclass(frozen=True)
class Sample:
    """One second: events so far, and the latencies (ms) of what became durable in it.

    `at_s` counts from the start of the schedule; `memory` is resident bytes by process, `handles`
    its open files and connections. `backlog` is what lies before the load and is not durable.
    """

    at_s: float
    due: int
    sent: int
    durable: int
    p50_ms: int
    p99_ms: int
    max_ms: int
    behind_ms: float
    memory: Mapping[str, int]
    handles: Mapping[str, int]
    threads: Mapping[str, int]
    backlog: int = 0

    @property
    def lag(self) -> int:
        """Events that are due and not durable, those of the backlog among them."""
        return self.backlog + max(self.due - self.durable, 0)


@dataclass
class Watched:
    """All of a run, as it was seen from outside."""

    started: Started
    latencies: Latencies
    offsets: Mapping[int, int] | None = None
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    polls: int = 0
    failed_polls: int = 0
    done: Done | None = None
    cpu: CpuReading | None = None

    @property
    def backlog(self) -> int:
        """Messages that lay in the logs before the load, and were not durable at the last look.

        0 before the first look.
        """
        if self.offsets is None:
            return 0
        ends = self.started.ends.items()
        return sum(max(end - self.offsets.get(partition, 0), 0) for partition, end in ends)

    @property
    def reached(self) -> int:
        """Goes up whenever anything becomes durable, of the backlog or of the load."""
        return sum((self.offsets or {}).values())


@dataclass(frozen=True)
class Watch:
    """How to watch: `pids` by name, `on_sample` hears every second, `check` raises to end it.

    `on_watched` hears after `on_sample`, of all that was seen so far.
    """

    tables: LoadTables
    pids: Mapping[str, int]
    stuck_s: float
    on_sample: Callable[[Sample], None] = lambda _sample: None
    check: Callable[[], None] = lambda: None
    on_watched: Callable[[Watched], None] = lambda _watched: None

    def run(self, process: BaseProcess, pipe: Connection) -> Watched:
        """Until everything that was sent is durable.

        Raises `LoadFailed` when the sender fails, or nothing becomes durable for `stuck_s`.
        """
        words = _Words(process, pipe)
        started = words.started()
        watched = Watched(started, Latencies(started.began_s, started.ends))
        pids = {**self.pids, "sender": process.pid or 0}
        cpu = read_cpu(pids)
        fresh: list[Milliseconds] = []
        sampled_s = progress_s = time.monotonic()
        while not _is_finished(watched, words):
            time.sleep(_POLL_S)
            self.check()
            words.apply(watched.latencies)
            before = watched.reached
            fresh.append(self._poll(watched))
            if watched.reached > before:
                progress_s = time.monotonic()
            elif time.monotonic() - max(progress_s, started.began_s) > self.stuck_s:
                raise LoadFailed(_stuck(watched, words, seconds=self.stuck_s))
            if time.monotonic() - sampled_s >= _SAMPLE_S:
                sampled_s = time.monotonic()
                self._sample(watched, words, fresh=fresh, pids=pids)
                fresh = []
        self._sample(watched, words, fresh=fresh, pids=pids)
        watched.done = words.done
        watched.seconds = time.monotonic() - started.began_s
        watched.cpu = latest(watched.cpu, read_cpu(pids)).since(cpu)
        return watched

    def _poll(self, watched: Watched) -> Milliseconds:
        watched.polls += 1
        try:
            offsets = self.tables.durable()
        except (ClickHouseError, OSError):
            watched.failed_polls += 1
            return np.empty(0, dtype=np.int64)
        watched.offsets = offsets
        return watched.latencies.observe(offsets, time.monotonic())

    def _sample(
        self, watched: Watched, words: "_Words", *, fresh: list[Milliseconds],
        pids: Mapping[str, int],
    ) -> None:  # fmt: skip
        after_s = time.monotonic() - watched.started.began_s
        latencies = np.concatenate(fresh) if fresh else np.empty(0, dtype=np.int64)
        scheduled = watched.started.load.schedule.due_by(after_s)
        sample = Sample(
            at_s=after_s,
            due=scheduled if words.done is None else words.done.delivery.events,
            sent=words.sent.events,
            durable=watched.latencies.durable,
            p50_ms=percentile(latencies, 0.5),
            p99_ms=percentile(latencies, 0.99),
            max_ms=percentile(latencies, 1.0),
            behind_ms=1000 * words.take_behind_s(),
            memory=_by_process(pids, memory_bytes),
            handles=_by_process(pids, open_files),
            threads=_by_process(pids, thread_count),
            backlog=watched.backlog,
        )
        watched.samples.append(sample)
        watched.cpu = latest(watched.cpu, read_cpu(pids))
        self.on_sample(sample)
        self.on_watched(watched)


class _Words:
    """What the sender said so far; a thread listens, so that the sender never waits for us."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self._process = process
        self._pipe = pipe
        self._lock = threading.Lock()
        self._placed: list[Placed] = []
        self._behind_s = 0.0
        self._has_started = threading.Event()
        self._first: Started | None = None
        self.sent = Sent(0, 0, 0.0)
        self.done: Done | None = None
        self._failure: str | None = None
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def started(self) -> Started:
        """Wait for the first word."""
        self._has_started.wait()
        self.check()
        assert self._first is not None
        return self._first

    def check(self) -> None:
        """Raises `LoadFailed` when the sender did."""
        if self._failure is not None:
            raise LoadFailed(self._failure)

    def apply(self, latencies: Latencies) -> None:
        """Hand on what was placed since the last time."""
        self.check()
        with self._lock:
            placed, self._placed = self._placed, []
        for each in placed:
            latencies.place(each.partitions, each.ticks)

    def take_behind_s(self) -> float:
        """The producer's largest delay since the last time."""
        with self._lock:
            found, self._behind_s = self._behind_s, 0.0
        return found

    def _listen(self) -> None:
        try:
            while True:
                self._hear(self._pipe.recv())
        except (EOFError, OSError):
            self._process.join()
            if self.done is None and self._failure is None:
                self._failure = f"the sender ended with {self._process.exitcode}"
        self._has_started.set()

    def _hear(self, word: Word) -> None:
        with self._lock:
            match word:
                case Started():
                    self._first = word
                    self._has_started.set()
                case Placed():
                    self._placed.append(word)
                case Sent():
                    self.sent = word
                    self._behind_s = max(self._behind_s, word.behind_s)
                case Done():
                    self.done = word
                case Failed():
                    self._failure = word.reason


def _is_finished(watched: Watched, words: _Words) -> bool:
    return words.done is not None and watched.latencies.durable >= words.done.delivery.messages


def _stuck(watched: Watched, words: _Words, *, seconds: float) -> str:
    return (
        f"nothing became durable for {seconds:.0f} s: {watched.latencies.durable:,} of"
        f" {words.sent.events:,} events sent are. Are workers of this namespace running, and what"
        f" do their logs say? ({watched.failed_polls} of {watched.polls} questions to ClickHouse"
        " were not answered)"
    )


def _by_process(pids: Mapping[str, int], ask: Callable[[int], int]) -> dict[str, int]:
    """What each process answers; one that has ended answers nothing."""
    found = {}
    for name, pid in pids.items():
        with suppress(psutil.Error):
            found[name] = ask(pid)
    return found
