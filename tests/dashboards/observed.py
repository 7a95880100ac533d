"""One deployment that is observed: real servers, a worker, Prometheus, and usage that was made."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from grafana_text import ALL, Choice, sql_of
from made_usage import Event, Usage, write_catalog
from metrics_server import DEPLOYMENT, MetricsServer, free_port
from panel_queries import Servers, load
from steward_page import serve

from loadtest.meterline import Meterline
from metering.settings import Settings, load_settings
from sinks.clickhouse import connect_clickhouse
from sinks.consumer_group import ConsumerGroup

_REPOSITORY = Path(__file__).resolve().parents[2]
_PLANTED = ("issued_invoices.sql", "planted_findings.sql")
_PARTITIONS = 4
_PATIENCE_S = 120.0


class Observed:
    """Leaving the context ends what it started, and drops the tables."""

    def __init__(self, folder: Path, addresses: Mapping[str, str], namespace: str) -> None:
        """Tables, topics and catalog are there after this; nothing runs yet."""
        self.now = datetime.now(UTC)
        self.usage = Usage(20_261, self.now)
        catalog = folder / "catalog"
        write_catalog(catalog, _REPOSITORY / "catalog" / "meters.yaml")
        port = free_port()
        environment = {
            **addresses,
            "METERLINE_NAMESPACE": namespace,
            "METERLINE_CATALOG": str(catalog),
            "METERLINE_HTTP_PORT": str(port),
            "PYTHONPATH": str(_REPOSITORY),
        }
        self._folder = folder
        self._meterline = Meterline(folder, environment)
        self._meterline.run("migrate", "--partitions", str(_PARTITIONS))
        self.settings: Settings = load_settings(
            namespace=namespace,
            catalog=catalog,
            kafka_bootstrap_servers=addresses["KAFKA_BOOTSTRAP_SERVERS"],
            redis_url=addresses["REDIS_URL"],
            clickhouse_url=addresses["CLICKHOUSE_URL"],
        )
        self._producer = Producer(
            {"bootstrap.servers": addresses["KAFKA_BOOTSTRAP_SERVERS"], "linger.ms": 5}
        )
        self._worker: subprocess.Popen[bytes] | None = None
        self.clickhouse: Client = connect_clickhouse(self.settings)
        steward_port = free_port()
        serve(steward_port)
        self.prometheus = MetricsServer(
            folder / "prometheus", {"meterline-worker": port, "meterline-steward": steward_port}
        )

    def __enter__(self) -> Self:
        """Start a worker and Prometheus."""
        self._worker = self._meterline.start("run", log=self._folder / "worker.log")
        self.prometheus.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End both."""
        self.prometheus.__exit__(kind, error, trace)
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(signal.SIGTERM)
            self._worker.wait(_PATIENCE_S)
        self.clickhouse.command(f"DROP DATABASE IF EXISTS {self.settings.database}")
        self.clickhouse.close()

    @property
    def servers(self) -> Servers:
        """Whom panels ask."""
        return Servers(self.clickhouse, self.prometheus)

    def backfill(self, events: Iterable[Event]) -> None:
        """Count events as those of a file."""
        file = self._folder / f"history-{time.monotonic_ns()}.ndjson"
        with file.open("w", encoding="utf-8") as output:
            output.writelines(json.dumps(event) + "\n" for event in events)
        self._meterline.run("backfill", "--json", str(file), timeout_s=600)

    def produce(self, events: int) -> None:
        """Send live events, about now."""
        for event in self.usage.live(events, datetime.now(UTC)):
            key = str(event.get("customer_id", event.get("subject")))
            self._producer.produce(
                self.settings.events_topic,
                json.dumps(event),
                key,
                partition=zlib.crc32(key.encode()) % _PARTITIONS,
            )
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    def wait_committed(self) -> None:
        """Wait until everything that was produced is committed."""
        group = ConsumerGroup(
            {"bootstrap.servers": self.settings.kafka_bootstrap_servers},
            group=self.settings.group_id,
            topic=self.settings.events_topic,
        )
        deadline = time.monotonic() + _PATIENCE_S
        while not all(each.lag == 0 for each in group.view().partitions):
            assert time.monotonic() < deadline, (self._folder / "worker.log").read_text()[-3000:]
            time.sleep(0.2)

    def issue_invoices(self) -> None:
        """Invoices of periods that are over, adjustments and findings, as commands leave them."""
        for name in _PLANTED:
            text = Path(__file__).with_name(name).read_text(encoding="utf-8")
            for statement in text.split(";\n"):
                self.clickhouse.command(statement)

    def choice(self, dashboard: str, *, minutes: int = 0) -> Choice:
        """What a reader sees at first: the dashboard's range and the first of each variable.

        `minutes` shortens the range to what there is.
        """
        found = load(dashboard)
        end = datetime.now(UTC)
        start = end - (timedelta(minutes=minutes) or _duration(found["time"]["from"]))
        chosen = Choice(start, end, 1 if minutes else 3600)
        for variable in found["templating"]["list"]:
            chosen = chosen.given(**{variable["name"]: self._first(variable, chosen)})
        return chosen

    def options(self, variable: Mapping[str, object], chosen: Choice) -> list[str]:
        """Values that a variable offers, without all."""
        query = variable["query"]
        if isinstance(query, Mapping):
            return self.prometheus.label_values("deployment", "meterline_assigned_partitions")
        rows = self.clickhouse.query(sql_of(str(query), chosen)).result_rows
        return [str(row[0]) for row in rows]

    def closed_period(self, chosen: Choice) -> str:
        """The newest period that is over, as its variable offers it."""
        found = {each["name"]: each for each in load("finance")["templating"]["list"]}
        return self.options(found["period"], chosen)[1]

    def _first(self, variable: Mapping[str, object], chosen: Choice) -> str:
        name = variable["name"]
        if variable["type"] == "datasource":
            return str(name)
        if name == "database":
            assert self.settings.database in self.options(variable, chosen)
            return self.settings.database
        options = self.options(variable, chosen)
        assert options, f"{name}: expected something to choose from"
        if name == "deployment":
            assert options == [DEPLOYMENT]
            return ".+"
        return ALL if variable["includeAll"] else options[0]


def _duration(relative: str) -> timedelta:
    amount, unit = int(relative[len("now-") : -1]), relative[-1]
    return amount * {"h": timedelta(hours=1), "d": timedelta(days=1)}[unit]
