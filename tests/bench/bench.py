"""What every section shares: servers, sizes, seed, a folder, and the topic loaded beforehand."""

from __future__ import annotations

import gc
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from deployment import PARTITIONS, REPOSITORY, Deployment
from rich.console import Console

from deploy.localstack.stack import LocalStack
from loadtest.meterline import last_lines
from loadtest.outcome import Outcome
from loadtest.preload import Preload, PreloadPlan
from loadtest.processes import read_cpu
from loadtest.produce import produce_chunks
from loadtest.summary import bars

SERVERS = ("kafka", "redis", "clickhouse")
_CHILD_S = 300.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    `events` take some half a minute, so that the last flush, which nothing overlaps, weighs little.
    `keys_customers` draw from 4 meters at random: 282 000 of them are just over a million
    (customer, meter) keys that really occur in 2.5 M events.
    """

    events: int = 8_000_000
    customers: int = 20_000
    plain_events: int = 150_000
    keys_events: int = 2_500_000
    keys_customers: int = 282_000
    latency_rate: int = 20_000
    latency_s: int = 30
    latency_warm_up_s: int = 3


QUICK = Sizes(
    events=400_000, plain_events=24_000, keys_events=300_000, keys_customers=34_000,
    latency_s=6, latency_warm_up_s=1,
)  # fmt: skip


class BenchFailed(Exception):
    """A part of the bench could not run; the text is meant for the user."""


@dataclass(frozen=True)
class Load:
    """A deployment whose topic was filled, and the truth about what is in it.

    `filling_cpu_s` is CPU time of our broker meanwhile, None where it is not ours.
    """

    deployment: Deployment
    truth: Outcome
    events: int
    bytes: int
    produced_s: float
    command: str
    filling_cpu_s: float | None = None

    @property
    def message_bytes(self) -> float:
        """Mean size of an event."""
        return self.bytes / self.events


@dataclass
class Bench:
    """One run."""

    seed: int
    sizes: Sizes
    folder: Path
    addresses: Mapping[str, str]
    pids: Mapping[str, int]
    is_profiled: bool = False
    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    _made: list[Deployment] = field(default_factory=list)
    _main: Load | None = None

    def say(self, text: str) -> None:
        """One line of progress."""
        self.out.print(f"  {datetime.now(UTC):%H:%M:%S} {text}", markup=False)

    def deployment(self, name: str, tuning: Mapping[str, str] | None = None) -> Deployment:
        """A fresh deployment, created now and dropped at the end."""
        namespace = f"b{int(time.time()) % 10**8}_{name}"
        made = Deployment(namespace, self.addresses, tuning or {})
        self._made.append(made)
        made.create()
        return made

    def fill(self, deployment: Deployment, events: int, customers: int) -> Load:
        """Fill a deployment's topic before anything reads it."""
        plan = PreloadPlan(events=events, customers=customers, partitions=PARTITIONS)
        load = Preload(self.seed, plan, datetime.now(UTC))
        before = read_cpu(self.pids)
        self.say(f"filling {deployment.settings.events_topic} with {events:,} events")
        with bars(Console(stderr=True)) as progress:
            task = progress.add_task("produced", total=events)
            delivery = produce_chunks(
                load,
                bootstrap_servers=self.addresses["KAFKA_BOOTSTRAP_SERVERS"],
                topic=deployment.settings.events_topic,
                on_events=lambda produced: progress.update(task, completed=produced),
            )
        command = f"loadtest.preload: {plan}, seed {self.seed}"
        return Load(
            deployment, load.outcome(), delivery.events, delivery.bytes, delivery.seconds, command,
            read_cpu(self.pids).since(before).processes.get("kafka"),
        )  # fmt: skip

    def unpriced_catalog(self) -> Path:
        """A catalog folder with the repository's meters, and without prices."""
        folder = self.folder / "unpriced"
        folder.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "catalog" / "meters.yaml", folder)
        return folder

    def main_load(self) -> Load:
        """The topic that all sections of a round but `rated` read; filled when first asked for."""
        if self._main is None:
            sizes = self.sizes
            tuning = {
                "METERLINE_DEDUP_EVENTS_MAX": str(sizes.events),
                "METERLINE_CATALOG": str(self.unpriced_catalog()),
            }
            self._main = self.fill(self.deployment("load", tuning), sizes.events, sizes.customers)
        return self._main

    def forget_main_load(self) -> None:
        """The next round reads a load of its own."""
        self._main = None

    def clear(self) -> None:
        """Drop all that was made but the main load, so that no section bears what others left.

        Our Redis is given time to write its log anew, which it would do while it is measured.
        """
        kept = None if self._main is None else self._main.deployment
        for deployment in [each for each in self._made if each is not kept]:
            self.drop(deployment)
        if "redis" in self.pids:
            with redis.Redis.from_url(self.addresses["REDIS_URL"]) as store:
                store.bgrewriteaof()
                while _is_rewriting(store):
                    time.sleep(_POLL_S)

    def drop(self, deployment: Deployment) -> None:
        """Drop one of them before the end."""
        self._made.remove(deployment)
        deployment.drop()

    def run_child(self, script: str, deployment: Deployment, *arguments: str) -> dict[str, Any]:
        """Run a script of this folder to its end; what it printed as JSON on its last line."""
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
        found = subprocess.run(
            command, cwd=REPOSITORY, env=deployment.environment, capture_output=True, text=True,
            timeout=_CHILD_S, check=False,
        )  # fmt: skip
        lines = found.stdout.strip().splitlines()
        if found.returncode or not lines:
            msg = f"{script} ended with {found.returncode}:\n{last_lines(found.stderr)}"
            raise BenchFailed(msg)
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer

    @contextmanager
    def profiled(self, name: str, pid: int) -> Iterator[None]:
        """Record where a process spends its time, with py-spy where that is installed."""
        program = shutil.which("py-spy") if self.is_profiled else None
        if program is None:
            if self.is_profiled:
                self.say("no profile: py-spy is not on PATH")
            yield
            return
        written = self.folder.parent / f"{self.folder.name}-{name}.speedscope.json"
        options = ("--format", "speedscope", "--threads", "--rate", "100", "--output")
        command = [program, "record", "--pid", str(pid), *options, str(written)]
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(60)
            self.say(f"profile: {written} (open it at speedscope.app)")

    def close(self) -> None:
        """Drop every deployment that was made, and every Kafka client that a cycle still keeps."""
        gc.collect()
        for deployment in self._made:
            deployment.drop()
        self._made.clear()


def _is_rewriting(store: redis.Redis) -> bool:
    info: dict[str, int] = store.info("persistence")
    return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


@contextmanager
def servers(folder: Path, console: Console) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Addresses of the three servers, and the process ids of those that are ours.

    What the environment names is used; the rest is a fresh stack in `folder`, which is stopped
    and removed at the end.
    """
    stack = LocalStack(folder)
    try:
        stack.up(progress=lambda name, doing: console.print(f"  {name}: {doing}", markup=False))
        pids = {name: pid for name in SERVERS if (pid := stack.service(name).pid) is not None}
        yield stack.env(), pids
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)
