"""Times one evaluation of many (customer, meter) pairs, with rows that ClickHouse makes itself.

python tests/bench/alerts/million.py --pairs 1000000
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

from alerts.detection import Detection
from alerts.judgement import STRAY_WEEKS, STRAYS
from metering.catalog import Aggregation, Catalog, Meter
from metering.settings import load_settings
from sinks.clickhouse import connect_clickhouse
from sinks.migrate import migrate

_CATALOG = Catalog({"requests": Meter("requests", "request", Aggregation.SUM)})
_SUMS = (
    "arrayMap(s -> toFloat32(s * (100 + cityHash64(pair, {seed}) % 60)), [1, 3, 8, 24, 72, 168])"
)


def main() -> int:
    """Make the rows, judge one mark, and say how long each step took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=1_000_000)
    pairs = parser.parse_args().pairs
    settings = load_settings(namespace="bench_million")
    server = connect_clickhouse(settings, database=None)
    server.command(f"DROP DATABASE IF EXISTS {settings.database}")
    migrate(settings)
    client = connect_clickhouse(settings, answer_s=900)
    mark = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    client.command(
        "INSERT INTO usage_pairs SELECT cityHash64(number) AS pair, toString(number), 'requests',"
        f" toDateTime('{mark - timedelta(weeks=20):%Y-%m-%d %H:%M:%S}', 'UTC'), now()"
        f" FROM numbers({pairs})"
    )
    for week in range(9):
        at = f"toDateTime('{mark - timedelta(weeks=week):%Y-%m-%d %H:%M:%S}', 'UTC')"
        sums = _SUMS.format(seed=week)
        if week == 0:
            spiking = f"arrayMap(x -> if(number % 1000 = 0, 5, 1) * x, {sums})"
            client.command(
                "INSERT INTO usage_marks (mark, pair, is_level, q, n)"
                f" SELECT {at}, cityHash64(number) AS pair, false, {spiking}, {spiking}"
                f" FROM numbers({pairs})"
            )
            continue
        client.command(
            "INSERT INTO usage_references (mark, pair, is_level, low, high, low_n, base, whole_q,"
            f" whole_n) SELECT {at}, cityHash64(number) AS pair, false, {sums}, {sums}, {sums},"
            f" 14400, 16800, 16800 FROM numbers({pairs})"
        )
    span = {"first": mark, "last": mark}
    for name, statement in (("judge", STRAYS), ("normal", STRAY_WEEKS)):
        began = time.monotonic()
        client.command(statement, parameters=span)
        sys.stdout.write(f"{name}: {time.monotonic() - began:.1f} s\n")
    began = time.monotonic()
    found = Detection(client, _CATALOG).breaches(mark, last=mark)
    took = time.monotonic() - began
    sys.stdout.write(f"breaches: {took:.1f} s; {len(found)} pairs breach of {pairs}\n")
    server.command(f"DROP DATABASE IF EXISTS {settings.database}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
