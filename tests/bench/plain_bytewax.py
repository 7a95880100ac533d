"""Child process: a plain Bytewax flow, as its guides show it. Prints JSON.

Argument: events, 0 for all of the topic. PEER_GROUP names the claims of a run that may be started
again; its table is there already.

Kafka source, a JSON decode for each message, `SET NX` for each event, a running total for each
(customer, meter), batches of 10 000 rows into ClickHouse. Nothing in it is slowed on purpose:
orjson decodes, Redis and ClickHouse are on loopback, there is one worker and no recovery store.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import bytewax.operators as op
import clickhouse_connect
import orjson
import redis
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.inputs import StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from metering.settings import Settings, load_settings

Event = dict[str, Any]
_PARTITIONS = 8
_BATCH_ROWS = 10_000
_BATCH_WAIT = timedelta(seconds=1)
_WINDOW_S = 32 * 86_400
_TABLE = """
CREATE TABLE IF NOT EXISTS plain_events
(
    customer_id String, meter LowCardinality(String), id String, quantity Decimal(38, 12),
    total Decimal(38, 12), occurred_at DateTime64(6, 'UTC')
)
ENGINE = MergeTree ORDER BY (customer_id, meter, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""
_COLUMNS = ["customer_id", "meter", "id", "quantity", "total", "occurred_at"]


class _Clock:
    """When the first event was read and the last one inserted."""

    def __init__(self) -> None:
        self.began_s = self.ended_s = self.began_cpu_s = self.ended_cpu_s = 0.0
        self.events = self.messages = 0

    def read(self, messages: int) -> None:
        self.messages += messages
        if not self.began_s:
            self.began_s, self.began_cpu_s = time.monotonic(), time.process_time()

    def end(self, rows: int) -> None:
        self.events += rows
        self.ended_s, self.ended_cpu_s = time.monotonic(), time.process_time()


class _FirstOf(KafkaSource):
    """Bytewax's Kafka source, ending after so many messages of each partition."""

    def __init__(self, settings: Settings, messages: int, clock: _Clock) -> None:
        # It prefetches far beyond what is read here; that must not be charged to it.
        super().__init__(
            [settings.kafka_bootstrap_servers], [settings.events_topic], tail=False,
            add_config={"queued.min.messages": "10000"},
        )  # fmt: skip
        self._messages = messages
        self._clock = clock

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Any:
        part = super().build_part(step_id, for_part, resume_state)
        return _FirstOfPartition(part, self._messages, self._clock)


class _FirstOfPartition(StatefulSourcePartition[Any, "int | None"]):
    def __init__(self, part: Any, messages: int, clock: _Clock) -> None:
        self._part = part
        self._left = messages
        self._clock = clock

    def next_batch(self) -> list[Any]:
        if not self._left:
            raise StopIteration
        found: list[Any] = self._part.next_batch()[: self._left]
        self._left -= len(found)
        if found:
            self._clock.read(len(found))
        return found

    def snapshot(self) -> int | None:
        return None

    def close(self) -> None:
        self._part.close()


class _ClickHouseSink(DynamicSink[tuple[str, list[Event]]]):
    def __init__(self, settings: Settings, clock: _Clock) -> None:
        self._settings = settings
        self._clock = clock

    def build(
        self, _step_id: str, _worker_index: int, _worker_count: int
    ) -> StatelessSinkPartition[tuple[str, list[Event]]]:
        return _ClickHousePartition(self._settings, self._clock)


class _ClickHousePartition(StatelessSinkPartition[tuple[str, list[Event]]]):
    def __init__(self, settings: Settings, clock: _Clock) -> None:
        self._client = _connect(settings)
        self._clock = clock

    def write_batch(self, items: list[tuple[str, list[Event]]]) -> None:
        for _, events in items:
            rows = [[event[name] for name in _COLUMNS] for event in events]
            self._client.insert("plain_events", rows, column_names=_COLUMNS)
            self._clock.end(len(rows))


def main() -> None:
    """Run the flow to its end and print what it took."""
    events = int(sys.argv[1]) or sys.maxsize
    settings = load_settings()
    client = _connect(settings)
    group = os.environ.get("PEER_GROUP", "")
    if not group:
        client.command("DROP TABLE IF EXISTS plain_events SYNC")
    client.command(_TABLE)
    clock = _Clock()
    run_main(build_flow(settings, events, clock, group=group))
    answer = {
        "events": clock.events,
        "messages": clock.messages,
        "began_s": clock.began_s,
        "ended_s": clock.ended_s,
        "seconds": clock.ended_s - clock.began_s,
        "cpu_s": clock.ended_cpu_s - clock.began_cpu_s,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def build_flow(settings: Settings, events: int, clock: _Clock, *, group: str) -> Dataflow:
    """The whole flow on one page."""
    store = redis.Redis.from_url(settings.redis_url.get_secret_value())
    prefix = group or f"{settings.redis_prefix}:plain:{time.time_ns()}"

    def is_first(event: Event) -> bool:
        name = f"{prefix}:{event['customer_id']}:{event['meter']}:{event['id']}"
        return bool(store.set(name, 1, nx=True, ex=_WINDOW_S))

    flow = Dataflow("plain")
    source = _FirstOf(settings, events // _PARTITIONS, clock)
    messages = op.input("kafka", flow, source)
    decoded = op.map("decode", messages, _decode)
    fresh = op.filter("dedup", decoded, is_first)
    keyed = op.key_on("key", fresh, lambda event: f"{event['customer_id']}:{event['meter']}")
    totals = op.stateful_map("total", keyed, _add)
    rows = op.map("row", totals, lambda pair: ("all", pair[1]))
    batches = op.collect("batch", rows, _BATCH_WAIT, _BATCH_ROWS)
    op.output("clickhouse", batches, _ClickHouseSink(settings, clock))
    return flow


def _decode(message: Any) -> Event:
    event: Event = orjson.loads(message.value)
    event["quantity"] = Decimal(str(event["quantity"]))
    event["occurred_at"] = datetime.fromisoformat(event["occurred_at"])
    return event


def _add(total: Decimal | None, event: Event) -> tuple[Decimal, Event]:
    total = (total or Decimal(0)) + event["quantity"]
    event["total"] = total
    return total, event


def _connect(settings: Settings) -> Any:
    return clickhouse_connect.get_client(
        dsn=settings.clickhouse_url.get_secret_value(),
        database=settings.database,
        autogenerate_session_id=False,
    )


if __name__ == "__main__":
    main()
