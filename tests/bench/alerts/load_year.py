"""A synthetic year in the tables that detection reads, and its marks by the production SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from synthetic_year import HOURS, SyntheticYear

from alerts.judgement import STRAY_WEEKS, STRAYS
from alerts.marks import BUILD_MARKS, MARKS_MAX, PAIR
from alerts.references import BUILD_REFERENCES
from sinks.clickhouse import INSERT_SETTINGS, insert_arrow

#: A Monday, as hour 0 of the year.
START = datetime(2025, 1, 6, tzinfo=UTC)


def moment(hour: int) -> datetime:
    """When an hour of the year begins."""
    return START + timedelta(hours=hour)


def load(client: Client, year: SyntheticYear) -> None:
    """Insert hours and names."""
    seconds = int(START.timestamp()) + year.hour.astype(np.int64) * 3600
    names = pa.array([f"c{pair}" for pair in range(len(year.shapes))])
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
    insert_arrow(client, "usage_hours", rows)
    client.command(
        f"INSERT INTO usage_pairs SELECT {PAIR} AS pair, any(customer_id), any(meter), "
        "min(window_start), max(window_start) FROM usage_hours GROUP BY pair",
        settings=INSERT_SETTINGS,
    )


def build_marks(client: Client) -> None:
    """All marks of the year."""
    for first in range(1, HOURS + 1, MARKS_MAX):
        last = min(first + MARKS_MAX - 1, HOURS)
        client.command(BUILD_MARKS, parameters={"first": moment(first), "last": moment(last)})
        if last < HOURS:
            before = {"first": moment(max(first - 1, 1)), "last": moment(last - 1)}
            client.command(BUILD_REFERENCES, parameters=before)


def keep_everything(client: Client) -> None:
    """A year is longer than production keeps."""
    for table in ("hours", "marks", "references", "strays", "stray_weeks"):
        client.command(f"ALTER TABLE usage_{table} REMOVE TTL")


def judge(client: Client) -> None:
    """Every hour of the year, a week at a time, as production judges hour by hour."""
    for first in range(4 * 168 + 1, HOURS + 1, 168):
        span = {"first": moment(first), "last": moment(min(first + 167, HOURS))}
        for statement in (STRAYS, STRAY_WEEKS):
            client.command(statement, parameters=span)
