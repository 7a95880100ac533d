"""One service of the stack: how it is started, checked, hurt and ended.

A subclass says what to run and how to ask whether it works; everything else, the fault
injection included, is the same for all.
"""

from __future__ import annotations

import abc
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal

from deploy.localstack import ports, process
from deploy.localstack.errors import ServiceFailedError, ServiceIsExternalError
from deploy.localstack.state import StateFile

Condition = Literal["up", "down", "external"]
Progress = Callable[[str, str], None]
"""Called with a service's name and a few words on what it is doing."""

_POLL_S = 0.05


def ignore_progress(_service: str, _doing: str) -> None:
    """Be the default progress callback."""


class Service(abc.ABC):
    """A handle on one service of one stack.

    Fault tests use `kill`, `pause`, `resume`, `stop`, `start` and `wipe`; each returns when
    its effect is complete. All raise ServiceIsExternalError when the service is not ours.
    """

    name: ClassVar[str]
    variable: ClassVar[str]
    port_count: ClassVar[int]
    start_patience: ClassVar[timedelta] = timedelta(seconds=60)
    stop_patience: ClassVar[timedelta] = timedelta(seconds=20)

    def __init__(self, *, root: Path, state: StateFile, environment: Mapping[str, str]) -> None:
        self.folder = root / self.name
        self.log_file = root / "logs" / f"{self.name}.log"
        self._state = state
        self._environment = environment

    # What a subclass knows.

    @abc.abstractmethod
    def prepare(self, progress: Progress) -> None:
        """Make ready what `command` needs: programs, downloads, formatted storage."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the program to run, as an absolute path, and its arguments."""

    @abc.abstractmethod
    def is_healthy(self) -> bool:
        """Whether the service answers a real request now; never raises, takes < 2 s."""

    @abc.abstractmethod
    def own_address(self) -> str:
        """Return the value of `variable` for the service that we run."""

    def further_variables(self) -> dict[str, str]:
        """Return what programs may be told beside the address."""
        return {}

    # What everybody uses.

    @property
    def address(self) -> str:
        """The value of `variable`: the external address if one is set, else ours."""
        return self._external_address() or self.own_address()

    @property
    def port(self) -> int:
        """The port clients use. Raises ServiceFailedError before the first start."""
        remembered = self._state.service(self.name).ports
        if not remembered:
            message = f"{self.name} was never started here: run `stack up` first"
            raise ServiceFailedError(message)
        return remembered[0]

    @property
    def pid(self) -> int | None:
        """The process id while it runs (paused included), else None."""
        found = self._state.service(self.name).process
        return found.pid if found is not None and process.is_alive(found) else None

    def condition(self) -> Condition:
        """`up` means that our process runs; whether it answers is `is_healthy`."""
        if self._external_address():
            return "external"
        return "down" if self.pid is None else "up"

    def start(self, progress: Progress = ignore_progress) -> None:
        """Start on the same port and data and wait until it is healthy; no-op if running.

        Raises ServiceFailedError with the end of its log when it does not become healthy.
        """
        self._refuse_external()
        if self.pid is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_ports()
            self.prepare(progress)
            progress(self.name, "starting")
            started = process.start_detached(
                self.command(), log_file=self.log_file, environment=self.process_environment()
            )
            self._state.set_process(self.name, started)
        self._wait_healthy()
        progress(self.name, "ready")

    def stop(self) -> None:
        """End it politely (SIGTERM), by force after `stop_patience`; no-op when not running."""
        self._refuse_external()
        running = self._state.service(self.name).process
        if running is None:
            return
        if not process.end(running, patience=self.stop_patience):
            message = f"{self.name} (pid {running.pid}) did not end, even by SIGKILL"
            raise ServiceFailedError(message)
        self._state.set_process(self.name, None)

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing is flushed, closed or said."""
        self._signal(signal.SIGKILL)
        running = self._state.service(self.name).process
        if running is not None and not process.wait_end(running, timedelta(seconds=10)):
            message = f"{self.name} (pid {running.pid}) survived SIGKILL for 10 s"
            raise ServiceFailedError(message)
        self._state.set_process(self.name, None)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._refuse_external()
        running = self._state.service(self.name).process
        if running is None or not process.pause(running, timedelta(seconds=5)):
            message = f"{self.name} is not running, so it cannot be paused"
            raise ServiceFailedError(message)

    def resume(self) -> None:
        """SIGCONT: undo `pause`."""
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Stop it, delete all its data, start it empty on the same port."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.start()

    def process_environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return dict(os.environ)

    def keep_or_replace_ports(self) -> None:
        """Before `up`: if somebody took our ports while we were down, choose others."""
        remembered = self._state.service(self.name).ports
        if self.pid is None and not all(ports.is_free(port) for port in remembered):
            self._state.set_ports(self.name, ports.find_free(self.port_count))

    def _take_ports(self) -> None:
        remembered = self._state.service(self.name).ports
        if not remembered:
            self._state.set_ports(self.name, ports.find_free(self.port_count))
        taken = [port for port in remembered if not ports.is_free(port)]
        if taken:
            message = (
                f"port {taken[0]} of {self.name} is used by another program: end that program, "
                "or run `stack up`, which chooses another port"
            )
            raise ServiceFailedError(message)

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + self.start_patience.total_seconds()
        while not self.is_healthy():
            if self.pid is None:
                self._fail("ended while starting")
            if time.monotonic() > deadline:
                self._fail(f"was not healthy after {self.start_patience.total_seconds():.0f} s")
            time.sleep(_POLL_S)

    def _fail(self, what: str) -> None:
        message = f"{self.name} {what}. The end of {self.log_file}:\n{process.tail(self.log_file)}"
        raise ServiceFailedError(message)

    def _signal(self, number: signal.Signals) -> None:
        self._refuse_external()
        running = self._state.service(self.name).process
        if running is None or not process.send(running, number):
            message = f"{self.name} is not running, so {number.name} cannot be sent"
            raise ServiceFailedError(message)

    def _refuse_external(self) -> None:
        external = self._external_address()
        if external:
            message = (
                f"{self.name} is external ({self.variable} is set), so it is only used, never "
                f"started, stopped or hurt: unset {self.variable} to run our own"
            )
            raise ServiceIsExternalError(message)

    def _external_address(self) -> str | None:
        value = self._environment.get(self.variable, "").strip()
        # `eval "$(meterline stack env)"` sets the variables to our own addresses.
        if not value or (self._state.service(self.name).ports and value == self.own_address()):
            return None
        return value
