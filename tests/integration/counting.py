"""What the tests of commands share: events, a command as a user runs it, a worker that counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from metering.settings import Settings
from sinks.clickhouse import connect_clickhouse
from sinks.consumer_group import ConsumerGroup

_COMMAND = Path(sys.executable).parent / "meterline"
_PATIENCE_S = 60.0
OCCURRED = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A sound event; the same number is the same event. A change to None leaves a field out."""
    fields = {
        "id": f"event-{number}",
        "customer_id": f"customer-{number % 7}",
        "meter": ("api_requests", "storage_gb", "documents_processed", "seats")[number % 4],
        "quantity": f"{number % 50}.25",
        "occurred_at": (OCCURRED + timedelta(seconds=number % 7000)).isoformat(),
        "dimensions": {"region": "eu" if number % 2 else "us"},
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def meterline(
    settings: Settings, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as an operator of this deployment would."""
    return subprocess.run(
        [str(_COMMAND), *arguments], env=environment(settings), input=stdin, capture_output=True,
        text=True, timeout=_PATIENCE_S * 3, check=False,
    )  # fmt: skip


def answer(settings: Settings, *arguments: str) -> Any:
    """What the command says with `--json`."""
    done = meterline(settings, *arguments, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def environment(settings: Settings) -> dict[str, str]:
    """Variables that make a process work for this deployment."""
    return {
        **os.environ,
        "METERLINE_NAMESPACE": settings.namespace,
        "METERLINE_CONSUMER_GROUP": settings.consumer_group,
        "METERLINE_CATALOG": str(settings.catalog),
        "METERLINE_HTTP_PORT": "0",
    }


def produce(
    settings: Settings, messages: Sequence[dict[str, Any] | bytes], *, partition: int = 0
) -> None:
    """Send messages to the events topic; everything in one partition, in order."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for message in messages:
        value = message if isinstance(message, bytes) else json.dumps(message).encode()
        producer.produce(settings.events_topic, value, partition=partition)
        producer.poll(0)
    assert producer.flush(30) == 0


def count(settings: Settings) -> None:
    """Run a worker until everything in the topic is committed, and stop it in good order."""
    worker = start_worker(settings)
    try:
        group = ConsumerGroup(
            {"bootstrap.servers": settings.kafka_bootstrap_servers}, group=settings.group_id,
            topic=settings.events_topic,
        )  # fmt: skip
        wait_until(lambda: all(each.lag == 0 for each in group.view().partitions))
    finally:
        stop_worker(worker)


def start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    """`meterline run` in the background."""
    return subprocess.Popen(
        [str(_COMMAND), "run"], env=environment(settings), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def stop_worker(worker: subprocess.Popen[bytes]) -> None:
    """Ask it to finish, and see that it does (before it can hear it, it just ends)."""
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(_PATIENCE_S) in (0, -signal.SIGTERM)


def wait_until(is_true: Callable[[], bool]) -> None:
    """Poll until it is; fails after a minute."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query against the deployment's database."""
    client = connect_clickhouse(settings)
    try:
        return [tuple(row) for row in client.query(sql).result_rows]
    finally:
        client.close()


def plant(settings: Settings, sql: str) -> None:
    """Change what is stored, as no worker would."""
    client = connect_clickhouse(settings)
    try:
        client.command(sql, settings={"lightweight_deletes_sync": 2})
    finally:
        client.close()


def totals(settings: Settings) -> list[tuple[Any, ...]]:
    """Every public total."""
    return rows(
        settings,
        "SELECT customer_id, meter, `group`, window_start, toString(quantity), events, late_events "
        "FROM live_usage WHERE events > 0 ORDER BY ALL",
    )
