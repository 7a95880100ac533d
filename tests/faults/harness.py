"""One deployment of its own on the real stack: a seeded load, workers, and the final reckoning.

A test reads: produce, hurt, go on, `assert_exact`. The truth comes from the load generator, which
shares no code with the pipeline; `meterline verify` must agree, over every offset of the log.
Charges must be what totals come to by the prices of `loadtest.prices`; those of one plan change at
the beginning of the hour in which the deployment is made, so that its billing period is split.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka_group import KafkaGroup, Sender
from typer.testing import CliRunner
from worker_process import WorkerProcess, wait_for

from cli.main import app
from deploy.localstack.stack import LocalStack
from loadtest.catalog import write_catalog
from loadtest.clickhouse import ClickHouse, database_of
from loadtest.meterline import Meterline, last_lines
from loadtest.oracle import compare, compare_charges
from loadtest.outcome import Outcome
from loadtest.plan import Message, Plan
from loadtest.population import Population
from loadtest.prices import expected_charges, plan_of, write_prices
from loadtest.topics import create_events_topic, events_topic
from loadtest.workload import Workload
from metering.settings import Settings, load_settings
from sinks.migrate import migrate

#: Small batches and flushes, so that a small load is many of them; the shortest session that a
#: broker allows, so that a dead worker's partitions move soon.
_WORKER = {
    "METERLINE_HTTP_PORT": "0",
    "METERLINE_BATCH_EVENTS_MAX": "250",
    "METERLINE_FLUSH_ROWS_MAX": "2000",
    "METERLINE_FLUSH_WAIT": "PT0.1S",
    "METERLINE_FLUSH_WAIT_BEHIND": "PT0.1S",
    "METERLINE_CATALOG_POLL": "PT0.2S",
}
_KAFKA = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500, "log_level": 2}


class Deployment:
    """A fresh namespace with its topic, tables, catalog and seeded load.

    `own` are plans of customers that the load does not know; without one nothing is charged.
    """

    def __init__(
        self,
        stack: LocalStack,
        folder: Path,
        *,
        seed: int,
        plan: Plan,
        own: Mapping[str, str] | None = None,
    ) -> None:
        print(f"fault seed {seed}: set METERLINE_FAULT_SEED to repeat it")  # noqa: T201
        self.stack = stack
        self.plan = plan
        self.namespace = f"f{uuid.uuid4().hex[:10]}"
        self.addresses = stack.env()
        self.folder = folder
        self.catalog = folder / "catalog"
        self.topic = events_topic(self.namespace)
        bootstrap_servers = self.addresses["KAFKA_BOOTSTRAP_SERVERS"]
        self.group = KafkaGroup(bootstrap_servers, f"{self.namespace}.meterline", self.topic)
        self._sender = Sender(bootstrap_servers, self.topic)
        self.workers: list[WorkerProcess] = []
        self._environment = {
            **self.addresses,
            **_WORKER,
            "METERLINE_NAMESPACE": self.namespace,
            "METERLINE_CATALOG": str(self.catalog),
        }
        create_events_topic(bootstrap_servers, self.topic, plan.partitions)
        create_events_topic(bootstrap_servers, f"{self.namespace}.usage.rejected", 1)
        migrate(self.settings)
        now = datetime.now(UTC)
        population = Population(plan.customers)
        self.changed_at = now.replace(minute=0, second=0, microsecond=0)
        self._priced = _placed(population.names, own or {})
        write_catalog(self.catalog, population, now)
        write_prices(self.catalog, self._priced, changed_at=self.changed_at)
        self.workload = Workload(seed, plan, now)
        self._messages = iter(self.workload)
        self._local = threading.local()

    @property
    def settings(self) -> Settings:
        """As the workers have them."""
        return load_settings(
            namespace=self.namespace,
            catalog=self.catalog,
            kafka_bootstrap_servers=self.addresses["KAFKA_BOOTSTRAP_SERVERS"],
            redis_url=self.addresses["REDIS_URL"],
            clickhouse_url=self.addresses["CLICKHOUSE_URL"],
        )

    def gather_long(self) -> None:
        """Let workers gather for flushes that are so large that rows go ahead of their totals."""
        self._environment |= {
            "METERLINE_FLUSH_ROWS_MAX": "4000",
            "METERLINE_FLUSH_WAIT": "PT3S",
            "METERLINE_FLUSH_WAIT_BEHIND": "PT3S",
        }

    # The load.

    def produce(self, share: float = 1.0, *, over_s: float = 0.0) -> None:
        """Produce the load up to `share` (0..1) of it, evenly over so many seconds.

        Every message is acknowledged when this returns.
        """
        wanted = int(self.plan.events * share)
        first, began = self.workload.truth.accounted, time.monotonic()
        for message in self._messages:
            self._sender.send(message)
            done = self.workload.truth.accounted - first
            due = began + over_s * done / max(wanted - first, 1)
            if due - time.monotonic() > 0.02:
                time.sleep(due - time.monotonic())
            if self.workload.truth.accounted >= wanted:
                break
        self._sender.flush()

    @contextmanager
    def producing(self, share: float = 1.0, *, over_s: float) -> Iterator[None]:
        """`produce` beside what is done in the context, which ends when all is acknowledged."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                self.produce(share, over_s=over_s)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        thread = threading.Thread(target=run, name="producing")
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if failures:
            raise failures[0]

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Produce messages of our own, (partition, value) each, in order."""
        for partition, value in messages:
            self._sender.send(Message(partition, b"own", value, events=1, due_s=0.0))
        self._sender.flush()

    # The workers.

    def start_worker(
        self,
        *arguments: str,
        kill_before: str | None = None,
        freeze_before: str | None = None,
        fail: str | None = None,
        unassigned_s: float | None = None,
        kafka: Mapping[str, int] | None = None,
    ) -> WorkerProcess:
        """Start a worker.

        `kill_before` ("2:3") and `freeze_before` ("usage_totals:3") name an exact moment at which
        it kills or freezes itself, `fail` writes that fail (see `hurt_worker`), `unassigned_s`
        after how long without a partition it is unhealthy, `kafka` further properties of its
        Kafka client.
        """
        log = self.folder / f"worker-{len(self.workers) + 1}.log"
        faults = {
            "METERLINE_KILL_BEFORE_STEP": kill_before,
            "FAULT_FREEZE": freeze_before,
            "FAULT_FAIL": fail,
            "FAULT_UNASSIGNED_S": unassigned_s,
        }
        own = {name: str(value) for name, value in faults.items() if value is not None}
        own["METERLINE_KAFKA_PROPERTIES"] = json.dumps({**_KAFKA, **(kafka or {})})
        worker = WorkerProcess(
            Meterline(self.folder, self._environment),
            log,
            environment=own,
            is_hurt=any(name.startswith("FAULT_") for name in own),
            arguments=arguments,
        )
        self.workers.append(worker)
        return worker

    def wait_shared(self, *workers: WorkerProcess) -> None:
        """Wait until these workers hold all partitions, each at least one."""

        def is_shared() -> bool:
            held = [worker.held for worker in workers]
            return all(held) and sum(held) == self.plan.partitions

        wait_for(f"{len(workers)} workers to share the partitions", is_shared)

    def close(self) -> None:
        """End what still runs, and drop the tables."""
        for worker in self.workers:
            if worker.is_running:
                worker.kill()
        self.query(f"DROP DATABASE IF EXISTS {database_of(self.namespace)}")

    # What came of it.

    def query(self, sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        """Rows of a query, over a connection of the calling thread."""
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = clickhouse_connect.get_client(
                dsn=self.addresses["CLICKHOUSE_URL"],
                database=database_of(self.namespace),
                autogenerate_session_id=False,
            )
            self._local.client = client
        try:
            return client.query(sql, parameters=parameters).result_rows
        except ClickHouseError:
            self._local.client = None
            raise

    def accounted(self) -> int:
        """Events that ended in raw history, or as duplicate, reject or suppressed."""
        return self._clickhouse().accounted()

    def durable(self) -> dict[int, int]:
        """Next offset after what the tables hold, by partition."""
        rows = self.query("SELECT partition, max(next_offset) FROM watermarks GROUP BY partition")
        return {int(partition): int(offset) for partition, offset in rows}

    def wait_accounted(self, events: int) -> None:
        """Wait until so many events ended somewhere."""
        wait_for(f"{events} events to be accounted for", lambda: self.accounted() >= events)

    def wait_drained(self) -> None:
        """Wait until everything in the log is durable and committed."""

        def is_drained() -> bool:
            running = [worker for worker in self.workers if worker.is_running]
            assert running, f"no worker is left:\n{last_lines(self.workers[-1].text)}"
            ends = {place: end for place, end in self.group.ends().items() if end}
            durable, committed = self.durable(), self.group.committed()
            return all(durable.get(p) == committed.get(p) == end for p, end in ends.items())

        try:
            wait_for("the log to be durable and committed", is_drained)
        except AssertionError as error:
            logs = "\n".join(f"{w.log}:\n{last_lines(w.text)}" for w in self.workers)
            message = f"{error}\n{logs}"
            raise AssertionError(message) from error

    def assert_exact(self) -> None:
        """Everything was counted and charged exactly once: the oracle and `verify` agree."""
        self.wait_drained()
        expected = self.workload.truth.outcome()
        differences = compare(expected, self._clickhouse().outcome())
        assert not differences, f"{len(differences)} differences: {differences[:10]}"
        self._assert_charged(expected)
        self.assert_balanced()

    def assert_verified(self) -> None:
        """`meterline verify` finds nothing, and the totals are charged as they must be."""
        self._assert_charged(self._clickhouse().outcome())
        self.assert_balanced()

    def _assert_charged(self, outcome: Outcome) -> None:
        """What finance reads is what these totals come to, by the oracle's own reckoning."""
        expected = expected_charges(outcome.totals, self._priced, changed_at=self.changed_at)
        differences = compare_charges(expected, self._clickhouse().charges())
        assert not differences, f"{len(differences)} charges differ: {differences[:10]}"

    def assert_balanced(self) -> None:
        """`meterline verify` finds nothing, and has looked at every offset of the log."""
        code, found = self.verify()
        assert code == 0, json.dumps(found, indent=1)[:4000]
        offsets = sum(
            balance["cut"]["next_offset"] - balance["cut"]["first_offset"]
            for balance in found["balances"]
        )
        assert offsets == sum(self.group.ends().values())

    def verify(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and findings of `meterline verify --json`."""
        return self.ask("verify", *arguments)

    def ask(self, command: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of a command with `--json`."""
        environment: dict[str, str | None] = {**self._environment}
        found = CliRunner().invoke(app, [command, "--json", *arguments], env=environment)
        assert found.stdout.strip().startswith("{"), f"{found.output} {found.exception!r}"
        return found.exit_code, json.loads(found.stdout)

    def _clickhouse(self) -> ClickHouse:
        return ClickHouse(self.addresses["CLICKHOUSE_URL"], database_of(self.namespace))


def _placed(names: Sequence[str], own: Mapping[str, str]) -> list[str]:
    """All customers, each where its plan is by the rule of `plan_of`."""
    found = list(names)
    for name, plan in own.items():
        while plan_of(len(found)) != plan:
            found.append(f"nobody-{len(found)}")
        found.append(name)
    return found


#: Makes a deployment for a test: `deploy(events=..., partitions=..., customers=..., own=...)`.
Deploy = Callable[..., Deployment]
