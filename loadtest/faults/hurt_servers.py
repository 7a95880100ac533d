"""A local stack of our own, whose servers are killed, paused, slowed, restarted and wiped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest.meterline import CommandFailed, last_lines, timed_out
from loadtest.servers import ADDRESSES

_COMMAND = (sys.executable, "-m", "deploy.localstack.cli")
_UP_S = 900.0
_GONE_S = 15.0
_STARTS = 3
#: A slow process runs for the second part of each period.
_STOPPED_S, _RUNNING_S = 0.08, 0.02


class HurtServers:
    """Kafka, Redis and ClickHouse in `folder`; nobody else may use them."""

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet."""
        self._folder = folder.resolve()

    def up(self) -> None:
        """Start what does not run. Raises `CommandFailed`."""
        self._stack("up")

    def down(self) -> None:
        """Stop all of them."""
        self._stack("down")

    def addresses(self) -> dict[str, str]:
        """By variable."""
        lines = (line.partition("=") for line in self._stack("env").splitlines())
        return {name: value for name, _, value in lines if name in ADDRESSES}

    def pid(self, name: str) -> int:
        """Process id of a server. Raises `CommandFailed` when it does not run."""
        rows = json.loads(self._stack("status", "--json", expected=(0, 3)))
        pid = next((row["pid"] for row in rows if row["name"] == name), None)
        if pid is None:
            msg = f"{name} of the stack in {self._folder} does not run"
            raise CommandFailed(msg)
        return int(pid)

    def kill(self, name: str) -> None:
        """SIGKILL; returns when it is gone."""
        _end(self.pid(name), signal.SIGKILL)

    def stop(self, name: str) -> None:
        """SIGTERM; returns when it has ended."""
        _end(self.pid(name), signal.SIGTERM)

    def start(self, name: str) -> None:
        """Start it on its data and port; returns when it answers.

        On a busy machine that may take longer than the stack has patience for.
        """
        for _ in range(_STARTS - 1):
            with suppress(CommandFailed):
                self._stack("up", "--service", name)
                return
        self._stack("up", "--service", name)

    def delete_data(self, name: str) -> None:
        """What it holds; it must not run."""
        shutil.rmtree(self._folder / name)

    def _stack(self, *arguments: str, expected: tuple[int, ...] = (0,)) -> str:
        given = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
        shown = " ".join(("meterline stack", *arguments))
        try:
            found = subprocess.run(
                [*_COMMAND, *arguments, "--data", str(self._folder)],
                env=given,
                capture_output=True,
                text=True,
                timeout=_UP_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise timed_out(shown, error) from None
        if found.returncode not in expected:
            msg = f"`{shown}` ended with {found.returncode}:\n{last_lines(found.stderr)}"
            raise CommandFailed(msg)
        return found.stdout


@contextmanager
def slowed(pid: int, *, running_s: float = _RUNNING_S) -> Iterator[None]:
    """The process stands still for four fifths of the time, while the context lasts.

    With `running_s` 0 it does not run at all until then. Raises `ProcessLookupError`.
    """
    is_over = threading.Event()

    def slow() -> None:
        with suppress(ProcessLookupError):
            while not is_over.wait(_STOPPED_S):
                if running_s:
                    os.kill(pid, signal.SIGCONT)
                    time.sleep(running_s)
                    os.kill(pid, signal.SIGSTOP)
            os.kill(pid, signal.SIGCONT)

    os.kill(pid, signal.SIGSTOP)
    thread = threading.Thread(target=slow, name="slow")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _end(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    deadline = time.monotonic() + _GONE_S
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
