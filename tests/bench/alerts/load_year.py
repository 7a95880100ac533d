"""A synthetic year in the tables that detection reads, and its marks by the production SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from synthetic_year import HOURS, WEEK, SyntheticYear

from alerts.detection import judge_marks
from alerts.marks import PAIR
from sinks.clickhouse import INSERT_SETTINGS, insert_arrow

#: A Monday, as hour 0 of the year.
START = datetime(2025, 1, 6, tzinfo=UTC)


def moment(hour: int) -> datetime:
    """When an hour of the year begins."""
    return START + timedelta(hours=hour)


def insert_hours(client: Client, table: str, year: SyntheticYear) -> None:
    """Insert hours into a table like `usage_hours`: pairs are customers `<seed>-<pair>`."""
    seconds = int(START.timestamp()) + year.hour.astype(np.int64) * 3600
    names = pa.array([f"{year.seed}-{pair}" for pair in range(len(year.shapes))])
    rows = pa.table(
        {
            "window_start": pa.array(seconds, pa.timestamp("s", tz="UTC")),
            "customer_id": pa.DictionaryArray.from_arrays(year.pair, names).cast(pa.string()),
            "meter": pa.repeat("requests", len(seconds)),
            "group": pa.repeat("{}", len(seconds)),
            "stream": pa.repeat("live", len(seconds)),
            "partition": pa.repeat(pa.scalar(0, pa.uint32()), len(seconds)),
            "is_level": pa.repeat(pa.scalar(value=False), len(seconds)),
            "quantity": year.quantity,
            "events": year.events.astype(np.uint64),
            "first_s": year.first_s.astype(np.uint16),
            "last_s": year.last_s.astype(np.uint16),
            "absorbed_offset": pa.array(np.arange(len(seconds)), pa.uint64()),
        }
    )
    insert_arrow(client, table, rows)


def name_pairs(client: Client) -> None:
    """Names of all pairs that were loaded."""
    client.command(
        f"INSERT INTO usage_pairs SELECT {PAIR} AS pair, any(customer_id), any(meter), "
        "min(window_start), max(window_start) FROM usage_hours GROUP BY pair",
        settings=INSERT_SETTINGS,
    )


def judge(client: Client) -> None:
    """Every hour of the year, a week at a time, as production judges hour by hour."""
    for first in range(1, HOURS, WEEK):
        judge_marks(client, moment(first), last=moment(min(first + WEEK - 1, HOURS)))


def keep_everything(client: Client) -> None:
    """A year is longer than production keeps."""
    for table in ("hours", "marks", "profiles", "noise", "deviations"):
        client.command(f"ALTER TABLE usage_{table} REMOVE TTL")
