"""How long a close takes: `python -m tests.bench.close_speed --customers 2000 --events 5000000`.

Rows are made by ClickHouse itself, as workers would have left them: raw events of one month, spread
over four partitions of a log and over a plan of four meters, hourly totals, and how far each
partition is durable. Then `meterline close` and `meterline invoices verify` run as a user runs
them.
Without CLICKHOUSE_URL a stack is started for it. The memory of ClickHouse is the greatest resident
set of its process from the first command on, looked at every tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil
from clickhouse_connect.driver.client import Client

from deploy.localstack.stack import LocalStack
from metering.settings import Settings, load_settings
from sinks.clickhouse import connect_clickhouse
from sinks.migrate import migrate

_REPOSITORY = Path(__file__).resolve().parents[2]
_PERIOD = "2025-03"
_PARTITIONS = 4
#: Hours of the month in which one customer uses something.
_ACTIVE_HOURS = 200
_ROWS_AT_ONCE = 5_000_000
_METERS = """meters:
- {key: requests, unit: request, aggregation: sum, group_by: [region]}
- {key: storage, unit: GB, aggregation: max}
- {key: documents, unit: document, aggregation: count}
- {key: tokens, unit: token, aggregation: sum}
"""
_PLANS = """plans:
- key: growth
  currency: USD
  versions:
  - version: 1
    effective_from: 2025-01-01T00:00:00Z
    base_fee: "20"
    commit: "50"
    charges:
    - {meter: requests, allowance: "1000", price: {model: graduated, tiers: [
        {up_to: "5000", unit_price: "0.01"}, {unit_price: "0.005"}]}}
    - {meter: storage, price: {model: per_unit, unit_price: "0.3"}}
    - {meter: documents, price: {model: package, package_size: "100", package_price: "1.5"}}
    - {meter: tokens, price: {model: volume, tiers: [
        {up_to: "10000", unit_price: "0.002"}, {unit_price: "0.001"}]}}
"""
_EVENTS = """
INSERT INTO usage_events
(customer_id, meter, identity, `group`, id, quantity, occurred_at, dimensions, stream, partition,
 offset, `index`, record_time, counted, period_start, part_start, card)
SELECT
    concat('customer-', leftPad(toString(number % {customers}), 7, '0')) AS customer_id,
    ['requests', 'storage', 'documents', 'tokens'][1 + intDiv(number, {customers}) % 4] AS meter,
    reinterpretAsFixedString(sipHash128(number)) AS identity,
    if(meter = 'requests', ['{{"region":"eu"}}', '{{"region":"us"}}'][1 + number % 7 % 2], '{{}}'),
    toString(number), toDecimal128(1 + number % 1000 / 100, 12) AS quantity,
    toDateTime64('2025-03-01 00:00:00', 6, 'UTC')
        + toIntervalHour(cityHash64(number % {customers}, intDiv(number, {customers}) % {hours})
                         % 743)
        + toIntervalSecond(number % 3600) AS occurred_at,
    '{{}}', 'usage.events:bench', number % {customers} % {partitions}, number, 0,
    occurred_at + toIntervalSecond(1), true,
    toDateTime('2025-03-01', 'UTC'), toDateTime('2025-03-01', 'UTC'), 7
FROM numbers({first}, {rows})
"""
_TOTALS = """
INSERT INTO usage_totals
(customer_id, meter, `group`, window_start, stream, partition, aggregation, quantity, card,
 period_start, part_start, events, first_occurred_at, last_occurred_at, last_identity,
 absorbed_offset)
SELECT customer_id, meter, `group`, toDateTime(toStartOfHour(occurred_at, 'UTC'), 'UTC') AS hour,
       stream, partition,
       transform(meter, ['storage', 'documents'], ['max', 'count'], 'sum') AS aggregation,
       multiIf(aggregation = 'max', toDecimal256(max(e.quantity), 12),
               aggregation = 'count', toDecimal256(count(), 12),
               sum(toDecimal256(e.quantity, 12))),
       7, toDateTime('2025-03-01', 'UTC'), toDateTime('2025-03-01', 'UTC'), count(),
       min(occurred_at), max(occurred_at), argMax(identity, (occurred_at, identity)), {events} - 1
FROM usage_events AS e
WHERE partition = {partition}
GROUP BY customer_id, meter, `group`, hour, stream, partition
"""


def main() -> None:
    """Make the rows, close, verify; print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--events", type=int, default=5_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = None
        if "CLICKHOUSE_URL" not in os.environ:
            stack = LocalStack(Path(folder) / "stack")
            stack.up()
            os.environ.update(stack.env())
        try:
            sys.stdout.write(json.dumps(_run(asked, Path(folder)), indent=1) + "\n")
        finally:
            if stack is not None:
                stack.down()


def _run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    os.environ["METERLINE_NAMESPACE"] = f"b{uuid.uuid4().hex[:8]}"
    os.environ["METERLINE_CATALOG"] = str(_catalog(folder / "catalog", asked.customers))
    settings = load_settings()
    migrate(settings)
    client = connect_clickhouse(settings, answer_s=3600)
    try:
        made_s = _make(client, customers=asked.customers, events=asked.events)
        with _Memory(str(folder)) as server:
            close = _command("close", "--force", "--reason", "benchmark", "--period", _PERIOD)
            server_close_mib = server.greatest_mib
            verify = _command("invoices", "verify", "--period", _PERIOD)
    finally:
        _drop(settings, client)
    assert close["answer"]["invoices"] == asked.customers, close
    assert verify["answer"]["holds"], verify
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": _machine(),
        "customers": asked.customers,
        "events": asked.events,
        "rows_made_s": made_s,
        "close_s": close["seconds"],
        "close_memory_mib": close["memory_mib"],
        "close_clickhouse_memory_mib": server_close_mib,
        "lines": close["answer"]["lines"],
        "verify_s": verify["seconds"],
        "verify_memory_mib": verify["memory_mib"],
    }


def _catalog(folder: Path, customers: int) -> Path:
    folder.mkdir()
    (folder / "meters.yaml").write_text(_METERS, encoding="utf-8")
    (folder / "plans.yaml").write_text(_PLANS, encoding="utf-8")
    rows = ["id,customer_id,plan,from\n"]
    rows += [
        f"s-{number},customer-{number:07d},growth,2025-01-01T00:00:00Z\n"
        for number in range(customers)
    ]
    (folder / "subscriptions.csv").write_text("".join(rows), encoding="utf-8")
    return folder


def _make(client: Client, *, customers: int, events: int) -> int:
    began = time.monotonic()
    for first in range(0, events, _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, events - first)
        client.command(
            _EVENTS.format(
                customers=customers, hours=_ACTIVE_HOURS, partitions=_PARTITIONS, first=first,
                rows=rows,
            )
        )  # fmt: skip
    for partition in range(_PARTITIONS):
        client.command(_TOTALS.format(events=events, partition=partition))
    client.command(
        "INSERT INTO watermarks (stream, partition, first_offset, next_offset, watermark) "
        f"SELECT 'usage.events:bench', number, 0, {events}, now64(3) FROM numbers({_PARTITIONS})"
    )
    return round(time.monotonic() - began)


def _command(*arguments: str) -> dict[str, Any]:
    """Run `meterline` with `--json`; seconds, its greatest memory, and what it said."""
    script = (
        "import resource, sys\nfrom cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "    sys.stderr.write(f'memory {used}\\n')\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--json"],
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    seconds = round(time.monotonic() - began, 1)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    memory = int(done.stderr.rpartition("memory ")[2])
    return {"seconds": seconds, "memory_mib": memory, "answer": json.loads(done.stdout)}


def _machine() -> str:
    """CPU, cores, memory and load, as they stand beside the figures."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in info if "model name" in line), "?")
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"


class _Memory:
    """Watches the resident set of the ClickHouse that keeps its data in a folder; 0 for none."""

    def __init__(self, folder: str) -> None:
        self._watched = [
            each
            for each in psutil.process_iter(["cmdline"])
            if any("clickhouse" in word and folder in word for word in each.info["cmdline"] or ())
        ]
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self.greatest_mib = 0

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            found = sum(each.memory_info().rss for each in self._watched) // 2**20
            self.greatest_mib = max(self.greatest_mib, found)


def _drop(settings: Settings, client: Client) -> None:
    client.command(f"DROP DATABASE IF EXISTS {settings.database}")
    client.close()


if __name__ == "__main__":
    main()
