"""Times one check of many (customer, meter) pairs that all had usage in the hour.

A thousandth of the pairs uses five times as much in the last two hours. What detection keeps of the
weeks before is made by ClickHouse itself; the two hours come as totals, and are checked one after
the other as the steward does each hour, and then half of the next hour. Prints what each step of
the second took, and how many findings were opened.

    PYTHONPATH=. python tests/bench/alerts/million.py --pairs 1000000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from alerts import detection
from alerts.check import AlertCheck
from alerts.marks import PAIR
from deploy.localstack.stack import LocalStack
from metering.catalog import Aggregation, Catalog, Meter
from metering.catalog_alerts import Budgets
from metering.settings import load_settings
from sinks.clickhouse import INSERT_SETTINGS, connect_clickhouse
from sinks.migrate import migrate

_CATALOG = Catalog({"requests": Meter("requests", "request", Aggregation.SUM)})
_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)
_SCALES = "[1, 3, 8, 24, 72, 168]"
#: Marks before the first that is checked which building it, the second and their profiles reads.
_AGES = sorted(
    {max(each - less, 0) for each in (*range(9), 16, *range(24, 168, 24)) for less in (-1, 0, 1, 2)}
)


def _at(moment: datetime) -> str:
    return f"toDateTime('{moment:%Y-%m-%d %H:%M:%S}', 'UTC')"


def _sums(low: int, spread: int, *, seed: int) -> str:
    """SQL of the sums of all windows, `low` and up to `spread` more an hour."""
    made = f"{low} + cityHash64(pair, {seed}) % {spread}"
    return f"arrayMap(s -> toFloat32(s * ({made})), {_SCALES})"


def make_weeks(client: Client, mark: datetime, *, pairs: int) -> None:
    """What detection would keep when it has judged all marks up to `mark`."""
    named = f"SELECT toString(number) AS customer_id, 'requests' AS meter, {PAIR} AS pair"
    source = f"FROM numbers({pairs})"

    def insert(text: str) -> None:
        client.command(text, settings=INSERT_SETTINGS)

    insert(
        "INSERT INTO usage_pairs (customer_id, meter, pair, first_hour, last_hour)"
        f" {named}, {_at(mark - 20 * _WEEK)}, {_at(mark)} {source}"
    )
    for age in _AGES:
        sums = _sums(100, 60, seed=age)
        insert(
            "INSERT INTO usage_marks (mark, pair, is_level, q, n)"
            f" SELECT {_at(mark - age * _HOUR)}, pair, false, {sums}, {sums}"
            f" FROM ({named} {source})"
        )
    for hours in (168 - 1, 168 - 2, 192 - 1, 192 - 2):
        insert(
            "INSERT INTO usage_profiles (mark, pair, is_level, weeks, idle, base, unit_q, unit_n,"
            f" high, low, high_share, low_share) SELECT {_at(mark - hours * _HOUR)}, pair, false,"
            f" 20, 0, 18720, 21840, 21840, {_sums(140, 10, seed=1)}, {_sums(110, 10, seed=2)},"
            f" arrayMap(x -> x / 18720, {_sums(140, 10, seed=1)}),"
            f" arrayMap(x -> x / 18720, {_sums(110, 10, seed=2)}) FROM ({named} {source})"
        )
    insert(
        "INSERT INTO usage_noise (day, pair, up, down) SELECT"
        f" {_at(mark - timedelta(days=1))}, pair, arrayResize([toFloat32(1.8)], 6, 1.8),"
        f" arrayResize([toFloat32(1.8)], 6, 1.8) FROM ({named} {source})"
    )
    client.insert("alert_progress", [["judged", mark]], column_names=["step", "done_to"])
    client.insert(
        "streams", [["usage.events:1", "live", "usage.events", "1", mark]], column_names="*"
    )


def use_hour(
    client: Client, mark: datetime, *, pairs: int, counted_at: datetime,
    complete_to: datetime | None = None,
) -> None:  # fmt: skip
    """Totals of the hour up to `mark`, written at `counted_at`; complete unless said otherwise."""
    client.command(
        "INSERT INTO usage_totals (customer_id, meter, `group`, window_start, stream, partition,"
        " aggregation, quantity, events, period_start, part_start, first_occurred_at,"
        " last_occurred_at, absorbed_offset, updated_at)"
        f" SELECT toString(number), 'requests', '{{}}', {_at(mark - _HOUR)} AS hour, 'live', 0,"
        f" 'sum', toDecimal256(amount, 12), amount, toStartOfMonth(hour), toStartOfMonth(hour),"
        f" hour, hour + INTERVAL 50 MINUTE, 1000000 + number, {_at(counted_at)} FROM"
        f" (SELECT number, toUInt64((100 + cityHash64(number, {mark.hour}) % 60)"
        f" * if(number % 1000 = 0, 5, 1)) AS amount FROM numbers({pairs}))",
        settings=INSERT_SETTINGS,
    )
    client.insert(
        "watermarks", [["usage.events:1", 0, 0, mark.hour + 1, complete_to or mark]],
        column_names=["stream", "partition", "first_offset", "next_offset", "watermark"],
    )  # fmt: skip


def check(client: Client) -> int:
    """One check; how many findings it opened."""
    run = AlertCheck(client, _CATALOG, budgets=Budgets({}, {}), outlets=[])
    return len(run.run(datetime.now(UTC)).changes)


def timed_write(client: Client, statement: str, *, parameters: Mapping[str, Any]) -> None:
    """As `detection.write`, and says how long it took."""
    began = time.monotonic()
    _write(client, statement, parameters=parameters)
    table = statement.partition("INSERT INTO ")[2].split(maxsplit=1)[0]
    sys.stdout.write(f"  {table}: {time.monotonic() - began:.1f} s\n")


_write = detection.write


def main() -> int:
    """Make the weeks, then check two hours. Exit code 1 where not all of the planted were found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=1_000_000)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder))
        if "CLICKHOUSE_URL" not in os.environ:
            stack.up(["clickhouse"])
            os.environ.update(stack.env(["clickhouse"]))
        settings = load_settings(namespace="bench_million")
        server = connect_clickhouse(settings, database=None)
        server.command(f"DROP DATABASE IF EXISTS {settings.database}")
        try:
            migrate(settings)
            client = connect_clickhouse(settings, answer_s=900)
            noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
            mark = noon - timedelta(days=1)
            make_weeks(client, mark, pairs=pairs)
            use_hour(client, mark + _HOUR, pairs=pairs, counted_at=datetime.now(UTC) - _HOUR)
            check(client)
            use_hour(client, mark + 2 * _HOUR, pairs=pairs, counted_at=datetime.now(UTC))
            detection.write = timed_write
            began = time.monotonic()
            opened = check(client)
            took = time.monotonic() - began
            end = mark + 3 * _HOUR
            use_hour(
                client, end, pairs=pairs, counted_at=datetime.now(UTC), complete_to=end - _HOUR / 2
            )
            opened += check(client)
            began = time.monotonic()
            detection.Detection(client, _CATALOG).begun(end - _HOUR, elapsed=_HOUR / 2)
            took_begun = time.monotonic() - began
        finally:
            server.command(f"DROP DATABASE IF EXISTS {settings.database}")
            stack.down()
    planted = len(range(0, pairs, 1000))
    sys.stdout.write(
        f"check: {took:.1f} s for {pairs} pairs with usage in the hour; {opened} findings opened,"
        f" {planted} planted\njudging the half hour after it: {took_begun:.1f} s\n"
    )
    return 0 if opened == planted else 1


if __name__ == "__main__":
    sys.exit(main())
