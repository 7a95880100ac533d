"""One worker as a process of its own, watched through its `/metrics`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from deployment import REPOSITORY, Deployment

from deploy.localstack.ports import find_free
from loadtest.meterline import last_lines

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_STOP_S = 90.0
_READY_S = 60.0
_POLL_S = 0.05
_COMMAND = ("-m", "cli.main", "run")


class WorkerFailed(Exception):
    """The worker ended, or did not do what it should; the text holds the end of its log."""


class BenchWorker:
    """Runs while its context lasts; leaving it early kills it."""

    def __init__(self, deployment: Deployment, log: Path) -> None:
        """Start it now."""
        self._url = f"http://127.0.0.1:{find_free(1)[0]}"
        self._log = log
        port = {"METERLINE_HTTP_PORT": self._url.rpartition(":")[2]}
        self.command = deployment.shown("python", *_COMMAND)
        self.started_s = time.monotonic()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *_COMMAND],
                cwd=REPOSITORY,
                env={**deployment.environment, **port},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def metrics(self) -> dict[str, float]:
        """Every sample by its full name with labels; empty while it does not serve yet.

        Raises `WorkerFailed` when the process has ended.
        """
        if self._process.poll() is not None:
            self.fail(f"the worker ended with {self._process.returncode}")
        try:
            with _DIRECT.open(f"{self._url}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def wait_assigned(self, partitions: int) -> None:
        """Wait until it holds so many partitions."""
        deadline = time.monotonic() + _READY_S
        while self.metrics().get("meterline_assigned_partitions") != partitions:
            if time.monotonic() > deadline:
                self.fail(f"the worker did not get {partitions} partitions")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """SIGTERM; it has to write and commit everything, and end with 0."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.fail(f"the worker did not stop within {_STOP_S:.0f} s")
        if code:
            self.fail(f"the worker ended with {code}")

    def fail(self, what: str) -> NoReturn:
        """Raise `WorkerFailed` with the end of its log."""
        tail = last_lines(self._log.read_text(encoding="utf-8", errors="replace"))
        msg = f"{what} ({self._log}):\n{tail}"
        raise WorkerFailed(msg)
