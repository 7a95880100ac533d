"""Processes that outlive the one that starts them, identified so that none is confused.

A process is a pid **and** the moment it started: a pid alone may have been given to
somebody else's process since, and that one must never be signalled.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

# The kernel reports start times in ticks and the boot time may be corrected meanwhile.
_START_TOLERANCE_S = 1.0
_POLL_S = 0.005
_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


@dataclass(frozen=True)
class ProcessId:
    """One process, for ever: `started_s` is its start in seconds since the epoch."""

    pid: int
    started_s: float


def start_detached(
    argv: Sequence[str], *, log_file: Path, environment: Mapping[str, str]
) -> ProcessId:
    """Start `argv` in a session of its own, so that Ctrl-C of the caller does not reach it.

    `argv[0]` is an absolute path. Output and errors are appended to `log_file`.
    Raises OSError when the program cannot be executed.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_file), _LOG_FLAGS, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(argv[0], list(argv), dict(environment), file_actions=actions, setsid=True)
    return ProcessId(pid=pid, started_s=psutil.Process(pid).create_time())


def is_alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs; a paused one does, a zombie does not."""
    return _find(process) is not None


def send(process: ProcessId, signal_number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    found = _find(process)
    if found is None:
        return False
    try:
        found.send_signal(signal_number)
    except psutil.NoSuchProcess:
        return False
    return True


def pause(process: ProcessId, timeout: timedelta) -> bool:
    """SIGSTOP, and wait until the process stands still; False when it is gone or does not."""
    if not send(process, signal.SIGSTOP):
        return False
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        found = _find(process)
        if found is None:
            return False
        if found.status() == psutil.STATUS_STOPPED:
            return True
        time.sleep(_POLL_S)
    return False


def wait_end(process: ProcessId, timeout: timedelta) -> bool:
    """Wait until the process is gone, its ports and locks included; False on timeout."""
    deadline = time.monotonic() + timeout.total_seconds()
    while _find(process) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def end(process: ProcessId, *, patience: timedelta) -> bool:
    """SIGTERM, and after `patience` SIGKILL. False when even that did not end it."""
    if not send(process, signal.SIGTERM):
        return True
    send(process, signal.SIGCONT)  # a paused process would never see the SIGTERM
    if wait_end(process, patience):
        return True
    send(process, signal.SIGKILL)
    return wait_end(process, timedelta(seconds=10))


def tail(log_file: Path, *, lines: int = 20) -> str:
    """Return the last lines of a log, or a sentence saying that there is none."""
    try:
        text = log_file.read_bytes()[-65_536:].decode(errors="replace")
    except FileNotFoundError:
        return f"(no log at {log_file})"
    return "\n".join(text.splitlines()[-lines:]) or f"({log_file} is empty)"


def _find(process: ProcessId) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        if abs(found.create_time() - process.started_s) > _START_TOLERANCE_S:
            return None
        # A killed program's first thread may be a zombie while others still hold its ports.
        if found.status() == psutil.STATUS_ZOMBIE and found.num_threads() <= 1:
            found.wait(0)  # reaps it when it is our child
            return None
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return None
    return found
