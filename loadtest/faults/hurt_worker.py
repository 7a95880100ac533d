"""One worker process, and what can be done to it from outside."""

import signal
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

from loadtest.meterline import CommandFailed, Meterline, last_lines

_POLL_S = 0.05
_STOP_S = 60.0


class HurtWorker:
    """`meterline run`; its log is in the folder of the command."""

    def __init__(self, meterline: Meterline, name: str, **variables: str) -> None:
        """Start it, with further environment variables."""
        self.log = meterline.folder / f"{name}.log"
        child = Meterline(meterline.folder, {**meterline.environment, **variables})
        self._process = child.start("run", log=self.log)
        self._is_asked = False

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    @property
    def crash(self) -> str:
        """How it ended by itself, with the end of its log; "" where it did not.

        One that SIGKILL ended was killed, or was told to do that to itself; one that was asked to
        stop is judged by who asked.
        """
        code = self.code
        if code in {None, -signal.SIGKILL} or self._is_asked:
            return ""
        return f"worker {self.pid} ended by itself with {code} ({self.log}):\n{self.said}"

    @property
    def is_suspended(self) -> bool:
        """Stopped by a signal, as the kernel says."""
        try:
            return "State:\tT" in Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False

    @property
    def said(self) -> str:
        """The end of its log."""
        return last_lines(self.log.read_text(encoding="utf-8", errors="replace"))

    def wait_frozen(self, patience_s: float) -> None:
        """Wait until it has stopped itself. Raises `CommandFailed` when it does not, or ends."""
        deadline = time.monotonic() + patience_s
        while not self.is_suspended:
            if self.code is not None or time.monotonic() > deadline:
                msg = f"the worker did not reach its step (exit code {self.code}):\n{self.said}"
                raise CommandFailed(msg)
            time.sleep(_POLL_S)

    def wait_end(self, patience_s: float) -> int | None:
        """Its exit code, or None when it still runs after so long."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return None

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._process.kill()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM; it writes and commits what it read, and ends."""
        self._is_asked = self.code is None
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """`ask_to_stop`, and wait. Raises `CommandFailed` unless it ends so."""
        self.ask_to_stop()
        self.wait_stopped()

    def wait_stopped(self, codes: Collection[int] = (0,)) -> None:
        """Wait until it has ended with one of `codes`. Raises `CommandFailed` when it does not."""
        code = self.wait_end(_STOP_S)
        if code not in codes:
            self.kill()
            msg = f"the worker ended with {code}:\n{self.said}"
            raise CommandFailed(msg)
