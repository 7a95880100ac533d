"""The machine, the programs and the state of the checkout that the figures belong to."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import clickhouse_connect
import psutil
from clickhouse_connect.driver.exceptions import ClickHouseError
from redis import RedisError

from loadtest.redis_server import redis_version

REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = (
    "bytewax", "confluent-kafka", "redis", "clickhouse-connect", "pyarrow", "numpy", "msgspec",
)  # fmt: skip


def describe_machine(addresses: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What stands above the figures; `folder` is where the servers keep their data.

    `addresses` are by variable; the version of a server whose address is not given is left out, and
    that of one that does not answer is not known: a report does not depend on it.
    """
    memory = psutil.virtual_memory()
    tuned = sorted(name for name in os.environ if name.startswith("METERLINE_"))
    return {
        "CPU": _cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} used of {os.cpu_count()}",
        "memory": f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} available",
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        **_servers(addresses),
        "commit": _commit(),
        "settings from the environment": ", ".join(tuned) or "none",
    }


def _servers(addresses: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable, (name, ask) in _VERSIONS.items():
        if variable in addresses:
            try:
                found[name] = ask(addresses[variable])
            except (RedisError, ClickHouseError, OSError):
                found[name] = "not known"
    return found


def _clickhouse_version(url: str) -> str:
    with clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False) as client:
        return str(client.command("SELECT version()"))


_VERSIONS: dict[str, tuple[str, Callable[[str], str]]] = {
    "REDIS_URL": ("Redis", redis_version),
    "CLICKHOUSE_URL": ("ClickHouse", _clickhouse_version),
}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Type of the file system that is mounted deepest above `folder`."""
    mounted = [
        part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)
    ]
    deepest = max(mounted, key=lambda part: len(part.mountpoint), default=None)
    return "unknown" if deepest is None else f"{deepest.fstype} on {deepest.mountpoint}"


def checkout() -> str:
    """A digest of the code as it stands: whoever edits it during a run spoils the run."""
    code = ("*.py", "*.lua", "*.sql", "*.c", "*.h")
    known = _git("rev-parse", "HEAD") + _git("diff", "HEAD", "--", *code)
    return hashlib.sha256(known.encode()).hexdigest()


def _commit() -> str:
    changed = len(_git("status", "--porcelain").splitlines())
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + (
        f" with {changed} files changed" if changed else ""
    )


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
