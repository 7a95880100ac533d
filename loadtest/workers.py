"""The workers of a run: started, killed without warning, replaced, and stopped in order."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.meterline import CommandFailed, Meterline, last_lines
from loadtest.topics import group_members

_STOP_S = 60.0
_ASSIGNED_S = 60.0
_POLL_S = 0.5
_STOPPED_POLL_S = 0.1
#: Of a worker: the step of a write before which it ends itself, and in which flush (`2:5`).
KILLS_ITSELF = "METERLINE_KILL_BEFORE_STEP"


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[bytes]
    log: Path
    is_armed: bool  # will kill itself


class Workers:
    """Worker processes; leaving the context ends whatever still runs."""

    def __init__(self, meterline: Meterline, catalog: Path) -> None:
        """Nothing is started yet; `catalog` is the folder that they read."""
        self._meterline = meterline
        self._catalog = catalog
        self._running: list[_Worker] = []
        self._started = 0

    def __enter__(self) -> Self:
        """Workers are started one by one with `start`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs, without waiting for it to finish its work."""
        for worker in self._running:
            worker.process.kill()
            worker.process.wait()
        self._running.clear()

    def start(self, **variables: str) -> int:
        """Start one more, with further environment variables; returns its process id."""
        self._started += 1
        log = self._meterline.folder / f"worker-{self._started}.log"
        arguments = ("run", "--catalog", str(self._catalog))
        environment = {**self._meterline.environment, **variables}
        process = replace(self._meterline, environment=environment).start(*arguments, log=log)
        self._running.append(_Worker(process, log, is_armed=KILLS_ITSELF in variables))
        return process.pid

    def kill(self, index: int) -> int:
        """SIGKILL one, 0 the one that runs longest; returns its process id."""
        worker = self._running.pop(index)
        worker.process.kill()
        worker.process.wait()
        return worker.process.pid

    def drop_killed(self) -> int:
        """Forget those that have killed themselves as they were told; how many they were.

        Raises `CommandFailed` with the end of its log when one has ended in another way.
        """
        ended = [worker for worker in self._running if worker.process.poll() is not None]
        faults = [
            _ended(worker, worker.process.returncode)
            for worker in ended
            if (worker.process.returncode, worker.is_armed) != (-signal.SIGKILL, True)
        ]
        if faults:
            raise CommandFailed("\n".join(faults))
        self._running = [worker for worker in self._running if worker not in ended]
        return len(ended)

    def replace_armed(self) -> int:
        """Kill those that would kill themselves, and start as many; how many they were."""
        armed = [index for index, worker in enumerate(self._running) if worker.is_armed]
        for index in reversed(armed):
            self.kill(index)
        for _ in armed:
            self.start()
        return len(armed)

    def stop_first(self, meanwhile: Callable[[], object] = lambda: None) -> int:
        """SIGTERM to the one that runs longest; returns its process id when it has ended.

        `meanwhile` is called again and again until then. Raises `CommandFailed` when it does not
        end with 0.
        """
        worker = self._running.pop(0)
        worker.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        try:
            while worker.process.poll() is None and time.monotonic() < deadline:
                meanwhile()
                time.sleep(_STOPPED_POLL_S)
            faults = _faults_of([worker])
        finally:
            worker.process.kill()  # no more than a word where it has ended
            worker.process.wait()
        if faults:
            raise CommandFailed("\n".join(faults))
        return worker.process.pid

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run, the oldest first."""
        return [worker.process.pid for worker in self._running]

    def check_alive(self) -> None:
        """Raises `CommandFailed` with the end of its log when one has ended by itself."""
        for worker in self._running:
            code = worker.process.poll()
            if code is not None:
                raise CommandFailed(_ended(worker, code))

    def stop(self) -> None:
        """SIGTERM to all, and wait. Raises `CommandFailed` when one does not end with 0."""
        for worker in self._running:
            worker.process.send_signal(signal.SIGTERM)
        faults = _faults_of(self._running)
        if faults:
            raise CommandFailed("\n".join(faults))
        self._running.clear()


def await_assignment(
    bootstrap_servers: str, group: str, *, workers: Workers, members: int, partitions: int
) -> None:
    """Wait until `members` workers hold all partitions together.

    Raises `CommandFailed` when one ends, or it takes longer than a minute.
    """
    deadline = time.monotonic() + _ASSIGNED_S
    while (held := group_members(bootstrap_servers, group)) != (members, partitions):
        workers.check_alive()
        if time.monotonic() > deadline:
            msg = (
                f"after {_ASSIGNED_S:.0f} s expected {members} workers that hold {partitions}"
                f" partitions, got {held[0]} that hold {held[1]}"
            )
            raise CommandFailed(msg)
        time.sleep(_POLL_S)


def _faults_of(workers: Sequence[_Worker]) -> list[str]:
    """Wait until all have ended; what those say that did not end with 0."""
    faults = []
    for worker in workers:
        try:
            code = worker.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
            faults.append(f"worker {worker.process.pid} did not stop within {_STOP_S:.0f} s")
        else:
            faults += [_ended(worker, code)] if code else []
    return faults


def _ended(worker: _Worker, code: int) -> str:
    tail = last_lines(worker.log.read_text(encoding="utf-8", errors="replace"))
    return f"worker {worker.process.pid} ended with {code} ({worker.log}):\n{tail}"
