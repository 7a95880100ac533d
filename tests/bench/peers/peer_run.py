"""A peer reads a topic as a process of its own; in peace, or killed several times on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import Bench, BenchFailed
from cpu_watch import CpuWatch
from deployment import REPOSITORY
from peer_load import PeerLoad
from peer_rows import Peer
from peer_tables import make_tables, rows_written, written

from loadtest.meterline import last_lines
from loadtest.peers.deviation import deviation
from loadtest.peers.report import Run

_FOLDER = Path(__file__).parent
PYTHON = REPOSITORY / ".venv-peers" / "bin" / "python"
_RUN_S = 900.0
#: Shares of the rows after which a process is killed.
KILLED_AT = (0.25, 0.5, 0.75)
_POLL_S = 0.1
#: More than any topic holds: a run that was killed before does not know what is left.
_UNKNOWN = 10**12


class PeerRun:
    """One consumer group, one set of tables, one folder; `name` is unique in a bench."""

    def __init__(self, bench: Bench, peer: Peer, load: PeerLoad, *, name: str) -> None:
        self._bench = bench
        self._peer = peer
        self._load = load
        self._deployment = load.load.deployment
        self._folder = bench.folder / name
        self._folder.mkdir()
        self._log = bench.folder / f"{name}.log"
        self._group = f"{self._deployment.settings.redis_prefix}:{name}"

    def measure(self, number: int) -> Run:
        """Read all of the topic. Raises `BenchFailed`."""
        make_tables(self._deployment, self._peer.tables)
        messages = self._load.load.events
        self._bench.say(f"{self._peer.name} reads {messages:,} messages")
        with self._started(messages) as process, CpuWatch(
            {**self._bench.pids, "process": process.pid}
        ) as watch:  # fmt: skip
            answer = self._ended(process)
        began_s, ended_s = answer["began_s"], answer["ended_s"]
        if answer["messages"] != messages or ended_s <= began_s:
            msg = f"{self._peer.name}: expected {messages:,} messages to be read, got {answer}"
            raise BenchFailed(msg)
        used = watch.between(began_s, ended_s)
        found = written(self._deployment, self._peer.tables)
        self._forget()
        return Run(
            round=number,
            messages=messages,
            seconds=ended_s - began_s,
            cpu_us={name: cpu / messages * 1e6 for name, cpu in used.processes.items()},
            others_cores=used.others / used.at_s if used.at_s else 0.0,  # shorter than a sample
            deviation=deviation(self._load.hours, found.hours),
            raw=raw_text(self._load.accepted, found.rows, found.distinct),
            totals_s=found.totals_s,
        )

    def measure_killed(self) -> str:
        """Kill it at each of `KILLED_AT`, start it again, and compare at the end."""
        make_tables(self._deployment, self._peer.tables)
        for share in KILLED_AT:
            self._bench.say(f"{self._peer.name} is killed when {share:.0%} of the rows are there")
            with self._started(_UNKNOWN) as process:
                if not self._waited(process, int(self._load.accepted * share)):
                    return "not measured: it had ended before it was killed"
        with self._started(_UNKNOWN) as process:
            self._ended(process)
        found = written(self._deployment, self._peer.tables)
        self._forget()
        told = deviation(self._load.hours, found.hours).text
        return f"{told}; {raw_text(self._load.accepted, found.rows, found.distinct)}"

    def _waited(self, process: subprocess.Popen[str], rows: int) -> bool:
        """Wait for so many rows; False when the process ended before."""
        while process.poll() is None:
            if rows_written(self._deployment, self._peer.tables) >= rows:
                return True
            time.sleep(_POLL_S)
        self._ended(process)
        return False

    @contextmanager
    def _started(self, messages: int) -> Iterator[subprocess.Popen[str]]:
        """Runs while the context lasts; leaving it early kills it (SIGKILL)."""
        python = str(PYTHON) if self._peer.has_own_python else sys.executable
        script = str((_FOLDER / self._peer.script).resolve())
        environment = {
            **self._deployment.environment,
            "PEER_DATABASE": self._deployment.settings.database,
            "PEER_TOPIC": self._deployment.settings.events_topic,
            "PEER_GROUP": self._group.replace(":", "."),
            "PEER_MESSAGES": str(messages),
            "PEER_FOLDER": str(self._folder),
            "PYTHONPATH": f"{REPOSITORY}:{_FOLDER}",
        }
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [python, script, *self._peer.arguments], cwd=REPOSITORY, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _ended(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        try:
            told, _ = process.communicate(timeout=_RUN_S)
        except subprocess.TimeoutExpired:
            told = ""
        lines = told.strip().splitlines()
        if process.returncode or not lines:
            tail = last_lines(self._log.read_text(encoding="utf-8", errors="replace"))
            msg = f"{self._peer.name} ended with {process.returncode} ({self._log}):\n{tail}"
            raise BenchFailed(msg)
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer

    def _forget(self) -> None:
        """Its claims in Redis and what it kept on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with self._deployment.store() as store:
            names = list(store.scan_iter(f"{self._group.replace(':', '.')}:*", count=5000))
            for at in range(0, len(names), 1000):
                store.unlink(*names[at : at + 1000])


def raw_text(accepted: int, rows: int, distinct: int) -> str:
    """One cell: rows that stand twice, events without a row."""
    if rows == distinct == accepted:
        return "each once"
    return f"{rows - distinct:,} rows twice, {accepted - distinct:,} events without a row"
