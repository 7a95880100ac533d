"""One worker as a process of its own, and what can be done to it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from loadtest.meterline import Meterline, last_lines

_REPOSITORY = Path(__file__).resolve().parents[2]
_HURT_WORKER = Path(__file__).with_name("hurt_worker.py")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PATIENCE_S = 120.0
_POLL_S = 0.2


class Page(NamedTuple):
    """What a health page says; status 0 where nobody answers."""

    status: int
    text: str


def wait_for(what: str, is_so: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Ask until `is_so`. Patience is counted in questions, so that a machine that is slow, or
    stands still for a while, makes it longer.
    """
    for _ in range(int(patience_s / _POLL_S)):
        if is_so():
            return
        time.sleep(_POLL_S)
    message = f"waited {patience_s:.0f} s in vain for {what}"
    raise AssertionError(message)


class WorkerProcess:
    """`meterline run` in a process; its log is `log`. `is_hurt`: a fault is planted in it."""

    def __init__(
        self,
        meterline: Meterline,
        log: Path,
        *,
        environment: Mapping[str, str],
        is_hurt: bool = False,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.log = log
        if not is_hurt:
            child = Meterline(meterline.folder, {**meterline.environment, **environment})
            self._process = child.start("run", *arguments, log=log)
            return
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(_HURT_WORKER), "run", *arguments],
                env={**meterline.environment, **environment, "PYTHONPATH": str(_REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """Everything that it said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def is_suspended(self) -> bool:
        """Stopped by a signal, as the kernel says."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return "State:\tT" in status

    def page(self, path: str) -> Page:
        """`/readyz`, `/healthz` or `/metrics`."""
        found = re.search(r"http://\S+:(\d+)/readyz", self.text)
        if found is None:
            return Page(0, "")
        try:
            with _DIRECT.open(f"http://127.0.0.1:{found.group(1)}{path}", timeout=5) as answer:
                return Page(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Page(error.code, error.read().decode())
        except OSError as error:
            return Page(0, str(error))

    def metric(self, name: str) -> float:
        """One sample by its full name with labels, 0 where there is none."""
        for line in self.page("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    @property
    def held(self) -> int:
        """Partitions that it says it holds."""
        return int(self.metric("meterline_assigned_partitions"))

    @property
    def partitions(self) -> set[int]:
        """Numbers of the partitions whose watermark it has written."""
        name = r'meterline_watermark_timestamp_seconds\{partition="(\d+)"\}'
        return set(map(int, re.findall(name, self.page("/metrics").text)))

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.is_running, f"the worker ended:\n{last_lines(self.text)}"
            return self.page("/readyz").status == 200

        wait_for(f"the worker of {self.log} to be ready", is_ready)

    def wait_red(self, reason: str) -> None:
        """Wait until it says that it is not ready, and that this is why."""

        def is_red() -> bool:
            page = self.page("/readyz")
            return page.status == 503 and reason in page.text

        wait_for(f"readiness to say {reason!r}", is_red)

    def wait_says(self, sentence: str) -> None:
        """Wait until its log holds a sentence."""
        wait_for(f"{sentence!r} in {self.log}", lambda: sentence in self.text)

    def suspend(self) -> None:
        """SIGSTOP: it stands still wherever it is, and its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)
        wait_for("the worker to stand still", lambda: self.is_suspended)

    def wait_frozen(self) -> None:
        """Wait until it has stopped itself."""
        wait_for("the worker to freeze", lambda: self.is_suspended)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM; it has to write and commit everything, and end with 0."""
        self._process.send_signal(signal.SIGTERM)
        code = self.wait_end()
        assert code == 0, f"the worker ended with {code}:\n{last_lines(self.text)}"

    def wait_end(self) -> int:
        """Wait until it ends; its exit code, which is negative for a signal."""
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"the worker did not end within {PATIENCE_S:.0f} s:\n{last_lines(self.text)}"
            raise AssertionError(message) from None

    def wait_killed(self) -> None:
        """Wait until it has killed itself at the step that was named at its start."""
        code = self.wait_end()
        assert code == -signal.SIGKILL, f"expected SIGKILL, got {code}:\n{last_lines(self.text)}"
