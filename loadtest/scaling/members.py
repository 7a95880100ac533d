"""Workers of one row: they come one by one, one is stopped, one is killed, under load."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from clickhouse_connect.driver.exceptions import ClickHouseError

from loadtest.deployment import Deployment
from loadtest.load.tables import LoadTables
from loadtest.meterline import CommandFailed
from loadtest.processes import CpuReading, latest, read_cpu
from loadtest.scaling.stretch import WORKER, Look
from loadtest.topics import held_partitions
from loadtest.workers import Workers

_POLL_S = 0.2
_GROUP_POLL_S = 0.5
_SETTLED_S = 180.0
_STUCK_S = 90.0


@dataclass
class Members:
    """Members of the group, and what is durable; every look reads the CPU time of all of them.

    CPU time of a worker that has ended counts up to the last look before.
    """

    deployment: Deployment
    workers: Workers
    tables: LoadTables
    servers: Mapping[str, int]
    on_durable: Callable[[int], None] = lambda _events: None
    _started: dict[str, int] = field(init=False, default_factory=dict)
    _cpu: CpuReading | None = field(init=False, default=None)
    _durable: int = field(init=False, default=0)

    def start(self) -> None:
        """One worker more."""
        self._started[f"{WORKER} {len(self._started) + 1}"] = self.workers.start()

    def look(self) -> Look:
        """How far it is now. Raises `CommandFailed` when a worker has ended by itself."""
        self.workers.check_alive()
        with suppress(ClickHouseError, OSError):  # the next look asks again
            self._durable = sum(self.tables.durable().values())
        self._cpu = latest(self._cpu, read_cpu({**self._started, **self.servers}))
        self.on_durable(self._durable)
        return Look(self._durable, self._cpu)

    def ids(self) -> set[str]:
        """Of the members of the group."""
        return set(self._held())

    def await_shared(self, count: int, *, without: set[str] | None = None) -> Look:
        """Wait until `count` members hold all partitions, one of them not of those in `without`.

        Returns the last look that came before an answer that it was not so. Raises `CommandFailed`
        after three minutes.
        """
        deadline = time.monotonic() + _SETTLED_S
        before = look = self.look()
        while True:
            held = self._held()
            is_new = without is None or bool(held.keys() - without)
            if is_new and (len(held), sum(held.values())) == (count, self.deployment.partitions):
                return before
            before = look
            if time.monotonic() > deadline:
                msg = (
                    f"after {_SETTLED_S:.0f} s expected {count} workers that hold"
                    f" {self.deployment.partitions} partitions, got {sorted(held.values())}"
                )
                raise CommandFailed(msg)
            time.sleep(_GROUP_POLL_S)
            look = self.look()

    def stop_one(self) -> None:
        """The oldest ends in order. Raises `CommandFailed` when it does not."""
        self.workers.stop_first(self.look)

    def kill_one(self) -> None:
        """The oldest is killed with SIGKILL."""
        self.workers.kill(0)

    def await_durable(self, events: int) -> Look:
        """Wait until so many events are durable. Raises `CommandFailed` when it goes on no more."""
        look = self.look()
        most, deadline = look.durable, time.monotonic() + _STUCK_S
        while look.durable < events:
            if look.durable > most:
                most, deadline = look.durable, time.monotonic() + _STUCK_S
            if time.monotonic() > deadline:
                msg = f"only {most:,} of {events:,} events became durable: see the workers' logs"
                raise CommandFailed(msg)
            time.sleep(_POLL_S)
            look = self.look()
        return look

    def _held(self) -> dict[str, int]:
        return held_partitions(self.deployment.bootstrap_servers, self.deployment.group)
