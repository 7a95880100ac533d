"""A fresh deployment for one measurement: topic, tables, environment; dropped afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import clickhouse_connect
import redis
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import AdminClient

from dataflows.kafka_reader import kafka_config
from loadtest.clickhouse import ClickHouse
from metering.settings import Settings, load_settings
from sinks.migrate import migrate
from sinks.topics import create_topics

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS = 8
_QUIET_S = 40.0


@dataclass(frozen=True)
class Deployment:
    """One namespace on the servers of `addresses`; `tuning` are further `METERLINE_` settings."""

    namespace: str
    addresses: Mapping[str, str]
    tuning: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """What a command of this deployment needs in its environment."""
        return {
            **self.addresses,
            "METERLINE_NAMESPACE": self.namespace,
            "METERLINE_CATALOG": str(REPOSITORY / "catalog"),
            **self.tuning,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a child process."""
        return {**os.environ, **self.variables, "PYTHONPATH": str(REPOSITORY)}

    @property
    def settings(self) -> Settings:
        """As the worker reads them, but for the tuning."""
        return load_settings(
            namespace=self.namespace,
            catalog=REPOSITORY / "catalog",
            kafka_bootstrap_servers=self.addresses["KAFKA_BOOTSTRAP_SERVERS"],
            redis_url=self.addresses["REDIS_URL"],
            clickhouse_url=self.addresses["CLICKHOUSE_URL"],
        )

    def shown(self, *command: str) -> str:
        """A command line that repeats a command: what it needs in front of it."""
        given = (f"{name}={value}" for name, value in self.variables.items())
        return " ".join([*given, *command])

    def create(self) -> None:
        """Make the topics and the tables."""
        settings = self.settings
        create_topics(settings, kafka_config(settings), partitions=PARTITIONS, replication=1)
        migrate(settings)

    def drop(self) -> None:
        """Remove everything of it from the three servers."""
        settings = self.settings
        with self.connect("default") as client:
            client.command(f"DROP DATABASE IF EXISTS {settings.database} SYNC")
        with self.store() as store:
            names = list(store.scan_iter(f"{settings.redis_prefix}:*", count=5000))
            for at in range(0, len(names), 1000):
                store.unlink(*names[at : at + 1000])
        admin = AdminClient(kafka_config(settings))
        deleted = admin.delete_topics([settings.events_topic, settings.rejected_topic])
        for future in deleted.values():
            future.exception(30)

    def connect(self, database: str = "") -> Client:
        """A ClickHouse client of its own; "" is the database of this deployment."""
        return clickhouse_connect.get_client(
            dsn=self.addresses["CLICKHOUSE_URL"],
            database=database or self.settings.database,
            autogenerate_session_id=False,
        )

    def store(self) -> redis.Redis:
        """A Redis client of its own."""
        return redis.Redis.from_url(self.addresses["REDIS_URL"])

    def observed(self) -> ClickHouse:
        """Its numbers, as the oracle of the load generator reads them."""
        return ClickHouse(self.addresses["CLICKHOUSE_URL"], self.settings.database)

    def merge_all(self) -> float:
        """Have ClickHouse merge what counting wrote to one part a month; the seconds it took.

        How many parts there are, and so what is merged while a load is read, hangs on its size.
        """
        began = time.monotonic()
        self.wait_quiet()
        with self.connect() as client:
            for table in ("usage_events", "usage_totals"):
                client.command(f"OPTIMIZE TABLE {table} FINAL")
        return time.monotonic() - began

    def wait_quiet(self) -> None:
        """Wait until ClickHouse merges nothing of it, at most 40 s."""
        began = time.monotonic()
        quiet = 0
        with self.connect() as client:
            while quiet < 3 and time.monotonic() - began < _QUIET_S:
                rows = client.query(
                    "SELECT 1 FROM system.merges WHERE database = currentDatabase()"
                ).result_rows
                quiet = 0 if rows else quiet + 1
                time.sleep(0.2)
