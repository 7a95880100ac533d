"""A deployment that some cells have one after the other: its load, workers, and the reckoning.

Making it (tables, topics, catalog) takes longer than most cells. What is compared at the end of
each is everything since it was made, so that nothing of an earlier cell can go wrong unseen.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from loadtest.catalog import write_catalog
from loadtest.clickhouse import ClickHouse, database_of
from loadtest.faults.completeness import Arrival, Completeness
from loadtest.faults.hurt_servers import HurtServers
from loadtest.faults.hurt_worker import HurtWorker
from loadtest.meterline import CommandFailed, Meterline
from loadtest.oracle import compare_charges, settle
from loadtest.plan import Message, Plan
from loadtest.population import Population
from loadtest.prices import expected_charges, write_prices
from loadtest.produce import produce
from loadtest.topics import (
    create_events_topic,
    events_topic,
    group_members,
    log_ends,
    workers_group,
)
from loadtest.workload import Workload

PARTITIONS = 6
_CUSTOMERS = 200
_EVENTS_MAX = 2_000_000
_SETTLED_S = 20.0
_POLL_S = 0.3
_GATE_S = 0.01
#: How a worker may end when everything is accounted for: in order; between two flows, when it has
#: nothing to write; or before it has begun.
_ENDED = (0, 75, -signal.SIGTERM)
#: Small batches and flushes, so that a small load is many of them; the shortest session that a
#: broker allows by default, so that a dead worker's partitions move soon.
_WORKER = {
    "METERLINE_HTTP_PORT": "0",
    "METERLINE_BATCH_EVENTS_MAX": "250",
    "METERLINE_FLUSH_ROWS_MAX": "2000",
    "METERLINE_FLUSH_WAIT": "PT0.1S",
    "METERLINE_FLUSH_WAIT_BEHIND": "PT0.1S",
    "METERLINE_KAFKA_PROPERTIES": json.dumps(
        {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "log_level": 2}
    ),
}


class World:
    """A fresh deployment on servers that may be hurt."""

    def __init__(self, servers: HurtServers, folder: Path, *, seed: int, rate: int) -> None:
        """Create topic, tables and catalog. Raises `CommandFailed`."""
        folder.mkdir(parents=True)
        self.servers = servers
        self.namespace = f"x{seed}_{time.time_ns() // 1_000_000}"
        self._addresses = servers.addresses()
        self._topic = events_topic(self.namespace)
        self._population = Population(_CUSTOMERS)
        now = datetime.now(UTC)
        self._changed_at = now.replace(minute=0, second=0, microsecond=0)
        catalog = folder / "catalog"
        write_catalog(catalog, self._population, now)
        write_prices(catalog, self._population.names, changed_at=self._changed_at)
        self.meterline = Meterline(
            folder,
            {
                **self._addresses,
                **_WORKER,
                "METERLINE_NAMESPACE": self.namespace,
                "METERLINE_CATALOG": str(catalog),
            },
        )
        self.create_topic()
        self.meterline.run("migrate")
        plan = Plan(
            events=_EVENTS_MAX, customers=_CUSTOMERS, partitions=PARTITIONS, events_per_second=rate
        )
        self.workload = Workload(seed, plan, now)
        self.workers: list[HurtWorker] = []
        self.cells = 0
        self._cell = ""
        self._allowed = 0
        self._completeness = Completeness(self._clickhouse)

    def begin(self, name: str) -> None:
        """Another cell; workers of the one before have ended. Their logs bear its name."""
        self.cells += 1
        self._cell = name.replace(":", "-").replace(" ", "-")
        self.workers = []
        self._allowed = self.produced

    @property
    def bootstrap_servers(self) -> str:
        """Of Kafka."""
        return self._addresses["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def produced(self) -> int:
        """Events that the load has come to so far."""
        return self.workload.truth.accounted

    def allow(self, events: int) -> None:
        """So many more events may be produced; without this none are."""
        self._allowed += events

    def create_topic(self) -> None:
        """The topic of events, as it must be."""
        create_events_topic(self.bootstrap_servers, self._topic, PARTITIONS)

    def check_addresses(self) -> None:
        """Raises `CommandFailed` when a server came back elsewhere."""
        found = self.servers.addresses()
        if found != self._addresses:
            msg = f"expected the servers at {self._addresses}, they are at {found}"
            raise CommandFailed(msg)

    def start_worker(self, **variables: str) -> HurtWorker:
        """Start one more."""
        name = f"{self._cell}-worker-{len(self.workers) + 1}"
        worker = HurtWorker(self.meterline, name, **variables)
        self.workers.append(worker)
        return worker

    def wait_shared(self, members: int, *, patience_s: float) -> None:
        """Wait until so many workers hold all partitions. Raises `CommandFailed`."""
        group = workers_group(self.namespace)
        self._wait(
            f"{members} workers to hold {PARTITIONS} partitions",
            lambda: group_members(self.bootstrap_servers, group) == (members, PARTITIONS),
            patience_s=patience_s,
        )

    @contextmanager
    def producing(self, *, is_lost: bool = False) -> Iterator[None]:
        """The load goes on while the context lasts; then all that was allowed is acknowledged.

        Raises `NotDelivered` when it is not, unless it `is_lost`: then nobody waits for that.
        """
        is_over = threading.Event()
        failures: list[BaseException] = []
        self.workload.go_on_at(datetime.now(UTC))

        def messages() -> Iterator[Message]:
            for message in self.workload:
                yield message
                while self.produced >= self._allowed:
                    if is_over.is_set():
                        return
                    time.sleep(_GATE_S)
                if is_lost and is_over.is_set():
                    return

        def run() -> None:
            try:
                produce(
                    messages(),
                    bootstrap_servers=self.bootstrap_servers,
                    topic=self._topic,
                )
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        thread = threading.Thread(target=run, name="producing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            if not is_lost:
                thread.join()
        if failures and not is_lost:
            raise failures[0]

    def wait_accounted(self, events: int, *, patience_s: float) -> None:
        """Wait until so many events ended somewhere.

        Raises `CommandFailed` when it becomes no more for `patience_s`.
        """
        most, deadline = -1, time.monotonic() + patience_s
        while (found := self._accounted()) < events:
            if found > most:
                most, deadline = found, time.monotonic() + patience_s
            if time.monotonic() > deadline:
                raise CommandFailed(
                    self._vain(f"more than {most:,} of {events:,} events", patience_s)
                )
            time.sleep(_POLL_S)

    def wait_durable(self, *, patience_s: float) -> None:
        """Wait until all that is in the topic is durable, totals as well: rows go before them.

        Who is asked to stop before that, while it waits for a server, leaves the totals to the next
        worker. Raises `CommandFailed`.
        """
        self._wait("the end of the log to be durable", self._is_durable, patience_s=patience_s)

    def differences(self) -> list[str]:
        """What the oracle finds, and `meterline verify`; the workers are stopped meanwhile.

        Raises `CommandFailed` when one ends as it must not.
        """
        running = [worker for worker in self.workers if worker.code is None]
        for worker in running:
            worker.ask_to_stop()
        expected = self.workload.truth.outcome()
        clickhouse = self._clickhouse()
        found = settle(clickhouse, expected, deadline_s=_SETTLED_S).differences
        charges = expected_charges(
            expected.totals, self._population.names, changed_at=self._changed_at
        )
        found = found + compare_charges(charges, clickhouse.charges())
        told = [f"{each.what}: expected {each.expected}, got {each.got}" for each in found]
        told += self._completeness.broken([Arrival(*row) for row in clickhouse.on_time()])
        for worker in running:
            worker.wait_stopped(_ENDED)
        return told + self.unverified()

    def unverified(self) -> list[str]:
        """What `meterline verify` finds wrong."""
        try:
            self.meterline.run("verify")
        except CommandFailed as error:
            return [str(error)]
        return []

    def close(self) -> None:
        """End what still runs."""
        self._completeness.stop()
        for worker in self.workers:
            if worker.code is None:
                worker.kill()

    def _accounted(self) -> int:
        try:
            return self._clickhouse().accounted()
        except (ClickHouseError, OSError):
            return -1

    def _is_durable(self) -> bool:
        try:
            durable = {
                partition: offset for partition, offset, _ in self._clickhouse().watermarks()
            }
            ends = log_ends(self.bootstrap_servers, self._topic)
        except (ClickHouseError, KafkaException, OSError):
            return False
        return all(durable.get(partition, 0) >= end for partition, end in ends.items())

    def _clickhouse(self) -> ClickHouse:
        return ClickHouse(self._addresses["CLICKHOUSE_URL"], database_of(self.namespace))

    def _wait(self, what: str, is_so: Callable[[], bool], *, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while not is_so():
            if time.monotonic() > deadline:
                raise CommandFailed(self._vain(what, patience_s))
            time.sleep(_POLL_S)

    def _vain(self, what: str, patience_s: float) -> str:
        logs = "\n".join(f"{worker.log}:\n{worker.said}" for worker in self.workers)
        return f"waited {patience_s:.0f} s in vain for {what}; workers say:\n{logs}"
