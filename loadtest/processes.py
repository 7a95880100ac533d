"""CPU time and memory of processes: who used how much between two moments."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

OTHERS = "others"
#: What the worker's other threads are for.
_BESIDE = "decoding, claims, flush, HTTP"


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds so far, by process and by kind of thread of the worker."""

    at_s: float
    processes: Mapping[str, float]
    threads: Mapping[str, float]
    machine: float

    def since(self, earlier: CpuReading) -> CpuReading:
        """What was used from `earlier` to here; `at_s` is the time between them."""
        return CpuReading(
            self.at_s - earlier.at_s,
            _difference(self.processes, earlier.processes),
            _difference(self.threads, earlier.threads),
            self.machine - earlier.machine,
        )

    @property
    def others(self) -> float:
        """CPU seconds of all programs that are not part of the measurement."""
        return max(self.machine - sum(self.processes.values()), 0.0)


def read_cpu(pids: Mapping[str, int], worker: int | None = None) -> CpuReading:
    """Read `pids`, by name, and the threads of `worker`; what is gone counts nothing."""
    used = {name: _process_seconds(pid) for name, pid in pids.items()}
    threads = {} if worker is None else _thread_seconds(worker)
    total = psutil.cpu_times()
    busy = sum(total) - total.idle - getattr(total, "iowait", 0.0)
    busy -= getattr(total, "guest", 0.0) + getattr(total, "guest_nice", 0.0)
    return CpuReading(time.monotonic(), used, threads, busy)


def latest(earlier: CpuReading | None, later: CpuReading) -> CpuReading:
    """`later`, in which a process that has ended meanwhile counts what it had used before."""
    if earlier is None:
        return later
    used = {
        name: max(seconds, earlier.processes.get(name, 0.0))
        for name, seconds in later.processes.items()
    }
    return CpuReading(later.at_s, used, later.threads, later.machine)


def peak_memory_bytes(pid: int) -> int:
    """The most memory that a process ever held in RAM (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    msg = f"process {pid} says no VmHWM"
    raise RuntimeError(msg)


def memory_bytes(pid: int) -> int:
    """The memory that a process holds in RAM now."""
    return int(psutil.Process(pid).memory_info().rss)


def open_files(pid: int) -> int:
    """Files and connections that a process has open now."""
    return int(psutil.Process(pid).num_fds())


def thread_count(pid: int) -> int:
    """Threads that a process has now."""
    return int(psutil.Process(pid).num_threads())


def _process_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _thread_seconds(pid: int) -> dict[str, float]:
    """Of the dataflow (the first thread), the Kafka client (named `rdk:`), and all others."""
    found = {"dataflow": 0.0, "Kafka client": 0.0, _BESIDE: 0.0}
    try:
        threads = psutil.Process(pid).threads()
    except psutil.NoSuchProcess:
        return found
    for thread in threads:
        found[_kind(pid, thread.id)] += thread.user_time + thread.system_time
    return found


def _kind(pid: int, thread: int) -> str:
    if thread == pid:
        return "dataflow"
    try:
        name = Path(f"/proc/{pid}/task/{thread}/comm").read_text()
    except OSError:
        return _BESIDE
    return "Kafka client" if name.startswith("rdk") else _BESIDE


def _difference(later: Mapping[str, float], earlier: Mapping[str, float]) -> dict[str, float]:
    return {name: value - earlier.get(name, 0.0) for name, value in later.items()}
