"""One stretch of a measurement: how many events became durable, and whose CPU time that took."""

from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.processes import CpuReading

WORKER = "worker"


@dataclass(frozen=True)
class Look:
    """What was durable at one moment, and the CPU time used until then."""

    durable: int
    cpu: CpuReading


@dataclass(frozen=True)
class Stretch:
    """From one look to a later one. CPU of servers is None where they are not ours."""

    events: int
    seconds: float
    workers_cpu_s: float
    servers_cpu_s: float | None
    others_cpu_s: float

    @property
    def speed(self) -> float:
        """Events a second."""
        return self.events / self.seconds if self.seconds else 0.0

    @property
    def workers_us(self) -> float | None:
        """CPU microseconds of all workers for an event."""
        return self._per_event(self.workers_cpu_s)

    @property
    def servers_us(self) -> float | None:
        """CPU microseconds of all our servers for an event."""
        return self._per_event(self.servers_cpu_s)

    def cores_used(self) -> dict[str, float | None]:
        """Cores that workers, servers and other programs kept busy."""
        spent = {
            "workers": self.workers_cpu_s, "servers": self.servers_cpu_s,
            "others": self.others_cpu_s,
        }  # fmt: skip
        return {name: _over(cpu_s, self.seconds) for name, cpu_s in spent.items()}

    def allowed_speed(self, cores: int) -> float | None:
        """Events a second beyond which the cores cannot go at this stretch's CPU time an event.

        What other programs used is taken off the cores first. None where servers are not ours.
        """
        if self.servers_cpu_s is None or not self.events:
            return None
        free = cores - self.others_cpu_s / self.seconds
        return max(free, 0.0) * self.events / (self.workers_cpu_s + self.servers_cpu_s)

    def _per_event(self, cpu_s: float | None) -> float | None:
        spent = _over(cpu_s, self.events)
        return None if spent is None else 1e6 * spent


def stretch(first: Look, last: Look, *, servers: Mapping[str, int]) -> Stretch:
    """What came between two looks; `servers` are ours, by name."""
    used = last.cpu.since(first.cpu)
    workers = sum(spent for name, spent in used.processes.items() if name.startswith(WORKER))
    ours = sum(spent for name, spent in used.processes.items() if name in servers)
    return Stretch(
        events=last.durable - first.durable,
        seconds=used.at_s,
        workers_cpu_s=workers,
        servers_cpu_s=ours if servers else None,
        others_cpu_s=used.others,
    )


def _over(cpu_s: float | None, divisor: float) -> float | None:
    return None if cpu_s is None or not divisor else cpu_s / divisor
