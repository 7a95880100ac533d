"""A deployment of a load's own: made, filled before anybody reads it, reckoned up at the end."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from loadtest.catalog import copy_meters
from loadtest.clickhouse import ClickHouse, database_of
from loadtest.dedup_room import planned_for
from loadtest.meterline import CommandFailed, Meterline
from loadtest.oracle import Comparison, Difference, settle
from loadtest.outcome import Outcome
from loadtest.preload import Preload, PreloadPlan
from loadtest.produce import Delivery, produce_chunks
from loadtest.summary import bars
from loadtest.topics import create_events_topic, events_topic, workers_group

_SETTLED_S = 20.0
_PATIENCE_S_MIN, _EVENTS_A_SECOND = 300, 20_000


@dataclass(frozen=True)
class Filled:
    """What was put into the topic beforehand, and the truth about it."""

    delivery: Delivery
    outcome: Outcome


@dataclass(frozen=True)
class Deployment:
    """One namespace on the servers of `addresses`, with the repository's meters and no prices.

    It is laid out for so many `events` in a dedup window.
    """

    namespace: str
    addresses: Mapping[str, str]
    folder: Path
    partitions: int
    events: int

    @property
    def topic(self) -> str:
        """Where events go."""
        return events_topic(self.namespace)

    @property
    def group(self) -> str:
        """Of its workers."""
        return workers_group(self.namespace)

    @property
    def database(self) -> str:
        """Of its tables."""
        return database_of(self.namespace)

    @property
    def bootstrap_servers(self) -> str:
        """Of Kafka."""
        return self.addresses["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def clickhouse_url(self) -> str:
        """HTTP DSN."""
        return self.addresses["CLICKHOUSE_URL"]

    @property
    def catalog(self) -> Path:
        """What its workers read."""
        return self.folder / "catalog"

    @property
    def meterline(self) -> Meterline:
        """The command under test, in this namespace; logs go to the folder."""
        return Meterline(
            self.folder,
            {
                **self.addresses,
                "METERLINE_NAMESPACE": self.namespace,
                "METERLINE_HTTP_PORT": "0",
                "METERLINE_CATALOG": str(self.catalog),
                **planned_for(self.events),
            },
        )

    def create(self) -> None:
        """Make folder, catalog, topic and tables. Raises `CommandFailed`, `KafkaException`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        copy_meters(self.catalog)
        create_events_topic(self.bootstrap_servers, self.topic, self.partitions)
        self.meterline.run("migrate")

    def fill(self, events: int, *, customers: int, seed: int, giant: float = 0.0) -> Filled:
        """Put plain events into the topic as fast as Kafka takes them; `giant` is a share (0..1).

        Raises `NotDelivered`.
        """
        plan = PreloadPlan(
            events=events, customers=customers, partitions=self.partitions, giant=giant
        )  # fmt: skip
        load = Preload(seed, plan, datetime.now(UTC))
        with bars(Console(stderr=True)) as progress:
            task = progress.add_task("produced", total=events)
            delivery = produce_chunks(
                load,
                bootstrap_servers=self.bootstrap_servers,
                topic=self.topic,
                on_events=lambda produced: progress.update(task, completed=produced),
            )
        return Filled(delivery, load.outcome())

    def reckon(self, expected: Outcome) -> Comparison:
        """Every count and hourly total of the namespace beside the truth, then `verify`."""
        events = expected.accounted
        observed = ClickHouse(
            self.clickhouse_url, self.database, patience_s=reckoning_s(events)
        )  # fmt: skip
        got, differences = settle(observed, expected, deadline_s=_SETTLED_S)
        return Comparison(got, differences + unverified(self.meterline, events))


def new_namespace(name: str) -> str:
    """One that nobody has; `name` begins with a letter and is short."""
    return f"{name}_{time.time_ns() // 1_000_000 % 10**10}"


def reckoning_s(events: int) -> int:
    """How long one answer about so many events may take, in seconds."""
    return max(_PATIENCE_S_MIN, events // _EVENTS_A_SECOND)


def unverified(meterline: Meterline, events: int) -> list[Difference]:
    """What `meterline verify` finds wrong in a deployment that holds so many events."""
    try:
        meterline.run("verify", timeout_s=reckoning_s(events))
    except CommandFailed as error:
        return [Difference("meterline verify", "exit code 0", str(error))]
    return []
