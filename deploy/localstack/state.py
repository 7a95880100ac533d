"""What the stack remembers between commands: `stack.json` in its data folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from deploy.localstack.errors import FolderInUseError
from deploy.localstack.process import ProcessId

_VERSION = 1


@dataclass(frozen=True)
class ServiceState:
    """One service: its ports (kept for ever) and its process (None when not started)."""

    ports: tuple[int, ...] = ()
    process: ProcessId | None = None


class StateFile:
    """Reads and changes `<data_dir>/stack.json`; safe for many threads and processes."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "stack.json"
        self._lock_file = data_dir / "stack.json.lock"

    def service(self, name: str) -> ServiceState:
        """Return the state of a service; an empty one when nothing is remembered."""
        return self._read().get(name, ServiceState())

    def set_ports(self, name: str, ports: tuple[int, ...]) -> None:
        """Remember the ports of a service."""
        self._change(name, ports=ports)

    def set_process(self, name: str, process: ProcessId | None) -> None:
        """Remember the process of a service, or that it has none."""
        self._change(name, process=process)

    def _change(self, name: str, **changes: Any) -> None:
        with hold(self._lock_file, patience=timedelta(seconds=10)):
            services = self._read()
            services[name] = replace(services.get(name, ServiceState()), **changes)
            document = {
                "version": _VERSION,
                "services": {key: asdict(value) for key, value in services.items()},
            }
            # Written aside and renamed: a crash leaves the old file or the new one.
            fresh = self._file.with_suffix(".json.new")
            fresh.write_text(json.dumps(document, indent=2) + "\n")
            fresh.replace(self._file)

    def _read(self) -> dict[str, ServiceState]:
        try:
            document = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return {name: _parse(fields) for name, fields in document["services"].items()}


@contextlib.contextmanager
def hold(lock_file: Path, *, patience: timedelta) -> Iterator[None]:
    """Hold an exclusive lock on `lock_file`; the kernel frees it if this process dies.

    Raises FolderInUseError when another holder keeps it for longer than `patience`.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience.total_seconds()
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                message = (
                    f"another process has held {lock_file} for {patience.total_seconds():.0f} s: "
                    "wait for its `stack up` or `stack down` to finish, then try again"
                )
                raise FolderInUseError(message)
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(fields: dict[str, Any]) -> ServiceState:
    process = fields["process"]
    return ServiceState(
        ports=tuple(fields["ports"]),
        process=None if process is None else ProcessId(**process),
    )
