"""How long a reconciliation of N invoice lines against as much usage takes, and its memory.

    python -m tests.bench.reconcile_speed --lines 1000000

Uses the ClickHouse of `CLICKHOUSE_URL`, or starts one; makes a database of its own, and drops it.
All rows are generated inside ClickHouse, from their number alone: one customer has five lines. One
row in a thousand of the export (`--every 1`: each) is wrong by 1.00, which has to be all that is
found. Memory is that of the process of the command, and of a server on this machine while it runs
(before, at most).
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
from typing import Self
from urllib.parse import urlsplit

import psutil

from deploy.localstack.stack import LocalStack
from metering.settings import load_settings
from sinks.clickhouse import connect_clickhouse
from sinks.migrate import migrate

PER_CUSTOMER = 5
_WHO = f"concat('customer_', toString(intDiv(number, {PER_CUSTOMER})))"
_METER = "concat('workflow_runs', if(number % 5 = 0, '', toString(number % 5)))"
_JUNE = "toDateTime('2026-06-01 00:00:00', 'UTC')"
_QUANTITY = "1000 + number % 5000"
_AMOUNT = f"toDecimal256({_QUANTITY}, 4) * toDecimal256('0.01', 4)"
_TABLES = (
    f"""INSERT INTO usage_events (customer_id, meter, identity, `group`, id, quantity, occurred_at,
        stream, partition, offset, `index`, record_time, counted, part_start, period_start, card)
        SELECT {_WHO}, {_METER}, unhex(leftPad(hex(number), 32, '0')), '{{}}', toString(number),
        {_QUANTITY}, {_JUNE} + 60, 's', 0, number, 0, {_JUNE} + 60, true, {_JUNE}, {_JUNE}, 7
        FROM numbers(LINES)""",
    f"""INSERT INTO usage_totals (customer_id, meter, `group`, window_start, stream, partition,
        aggregation, quantity, card, period_start, part_start, events, absorbed_offset)
        SELECT {_WHO}, {_METER}, '{{}}', {_JUNE}, 's', 0, 'sum', {_QUANTITY}, 7, {_JUNE},
        {_JUNE}, 1, number FROM numbers(LINES)""",
    f"""INSERT INTO invoice_lines (customer_id, period_start, run_id, line, line_id, invoice_id,
        kind, meter, `group`, part_start, part_end, quantity, overage, exact, amount, currency,
        plan, price_version, card)
        SELECT {_WHO}, {_JUNE}, 'close-1', number % {PER_CUSTOMER}, concat('il_', toString(number)),
        concat('inv_', {_WHO}), 'charge', {_METER}, '{{}}', {_JUNE}, {_JUNE} + 2592000, {_QUANTITY},
        {_QUANTITY}, {_AMOUNT}, {_AMOUNT}, 'USD', 'growth', 1, 7 FROM numbers(LINES)""",
    f"""INSERT INTO invoices (customer_id, period_start, period_end, invoice_id, run_id, plan,
        currency, minor_digits, rounding, total, lines)
        SELECT customer_id, {_JUNE}, {_JUNE} + 2592000, any(invoice_id), 'close-1', 'growth', 'USD',
        2, 'half_even', sum(amount), count() FROM invoice_lines GROUP BY customer_id""",
    f"""INSERT INTO billing_periods (customer_id, period_start, period_end, plan, price_version,
        currency, minor_digits, rounding, updated_at)
        SELECT customer_id, {_JUNE}, {_JUNE} + 2592000, 'growth', 1, 'USD', 2, 'half_even', {_JUNE}
        FROM invoices""",
    """INSERT INTO rate_cards (card, plan, price_version, meter, `group`, currency, rows_above,
        rows_charge, rows_unit_price, rows_package_units, rows_package_price)
        VALUES (7, 'growth', 1, 'workflow_runs', '{}', 'USD', [0], [0], [0.01], [0], [0])""",
    """INSERT INTO billing_runs (run_id, kind, period, state, cut_streams, cut_partitions,
        cut_offsets, recorded_at)
        VALUES ('close-1', 'close', '2026-06', 'finished', ['s'], [0], [1000000000],
        '2026-07-02 00:00:00')""",
)
_EXPORT = f"""
SELECT {_WHO} AS customer_id, {_METER} AS meter, '2026-06-01' AS period_start,
       {_QUANTITY} AS quantity, {_AMOUNT} + if(number % EVERY = 0, 1, 0) AS amount,
       'USD' AS currency, concat('il_', toString(number)) AS line_id, 1 AS price_version
FROM numbers(LINES) FORMAT CSVWithNames
"""


def main() -> int:
    """Generate, run the command, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=1000, help="one row in so many is wrong")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = None
        if "CLICKHOUSE_URL" not in os.environ:
            stack = LocalStack(folder / "stack")
            stack.up(["clickhouse"])
            os.environ.update(stack.env(["clickhouse"]))
        try:
            return _run(folder, asked.lines, every=asked.every)
        finally:
            if stack is not None:
                stack.down()


def _run(folder: Path, lines: int, *, every: int) -> int:
    os.environ["METERLINE_NAMESPACE"] = f"b{uuid.uuid4().hex[:8]}"
    settings = load_settings()
    migrate(settings)
    client = connect_clickhouse(settings, answer_s=600)
    export = folder / "export.csv"
    try:
        for statement in _TABLES:
            client.command(statement.replace("LINES", str(lines)))
        query = _EXPORT.replace("LINES", str(lines)).replace("EVERY", str(every))
        export.write_bytes(client.raw_query(query))
        return _measured(export, lines, every=every)
    finally:
        client.command(f"DROP DATABASE {settings.database}")


class _Server:
    """Memory and CPU of the server that listens at CLICKHOUSE_URL, if it is on this machine."""

    def __init__(self) -> None:
        port = urlsplit(os.environ["CLICKHOUSE_URL"]).port
        found = [
            each.pid
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ]
        self._process = psutil.Process(found[0]) if found and found[0] else None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before_mib = self.most_mib = self._mib()
        self._before_s = self._cpu_s()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_s(self) -> float:
        """What it has computed since this was made."""
        return self._cpu_s() - self._before_s

    def _watch(self) -> None:
        while not self._ended.wait(timeout=0.05):
            self.most_mib = max(self.most_mib, self._mib())

    def _cpu_s(self) -> float:
        times = self._process.cpu_times() if self._process else None
        return times.user + times.system if times else 0.0

    def _mib(self) -> int:
        return self._process.memory_info().rss >> 20 if self._process else 0


def _measured(export: Path, lines: int, *, every: int) -> int:
    command = [
        sys.executable, "-m", "cli.main", "reconcile", "--period", "2026-06", "--export",
        str(export), "--html", str(export.with_suffix(".html")), "--json",
    ]  # fmt: skip
    load = os.getloadavg()[0]
    with tempfile.TemporaryFile() as out, _Server() as server:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        out.seek(0)
        document = json.load(out)
    amount = sum(int(each["amount"]) for each in document["findings"])
    planted = -(-lines // every)
    is_right = os.waitstatus_to_exitcode(status) == 1 and (
        len(document["findings"]) == planted == amount
    )
    sys.stdout.write(
        f"date={datetime.now(UTC):%Y-%m-%d} cores={os.cpu_count()} load_before={load:.1f} "
        f"lines={lines} seconds={seconds:.1f} cpu_s={used.ru_utime + used.ru_stime:.1f} "
        f"peak_mib={used.ru_maxrss // 1024} server_mib={server.before_mib}..{server.most_mib} "
        f"server_cpu_s={server.cpu_s:.1f} "
        f"findings={len(document['findings'])} of {planted} right={is_right}\n"
    )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
