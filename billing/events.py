"""The events behind a charge, in the order of the log, as raw history holds them."""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from billing.usage import SpanBorders
from billing.usage_sql import CUT
from metering.catalog import Meter
from metering.decimals import units_of
from metering.dimensions import canonical
from rating_engine.period_rater import GroupKey
from sinks.billing_runs import RawState
from sinks.clickhouse import clickhouse_errors
from sinks.rejects import Coordinate

#: By arrival, then by coordinate: the same whenever it is asked. The time is compared by a
#: function, so that FINAL reads all months (see `billing/usage.py`).
_EVENTS = f"""
SELECT stream, partition, offset, `index`, id, identity,
       toUnixTimestamp64Micro(occurred_at) AS occurred_us,
       toUnixTimestamp64Milli(record_time) AS record_ms,
       quantity, counted, cumulative_before, included, overage, charge, card != 0 AS is_rated,
       toString(price_version) AS price_version, toString(catalog) AS catalog
FROM billable_events AS e INNER JOIN ({CUT}) AS c USING (stream, partition)
WHERE offset < next_offset
  AND customer_id = %(customer)s AND meter = %(meter)s AND `group` = %(group)s
  AND arrayCount(b -> b <= toUnixTimestamp64Micro(occurred_at), %(borders)s) = 1
ORDER BY record_time, stream, partition, offset, `index`
"""
_SPILL = {"max_bytes_before_external_sort": 500_000_000}
_PLAIN = [
    "stream", "partition", "offset", "index", "id", "identity", "occurred_us", "record_ms",
    "counted", "is_rated", "price_version", "catalog",
]  # fmt: skip
_EXACT = ("quantity", "cumulative_before", "included", "overage", "charge")


class StoredRating(NamedTuple):
    """What the stream stored with an event. Quantities are 10^-12 units, `charge` 10^-24."""

    cumulative_before: int
    included: int
    overage: int
    charge: int
    price_version: str
    catalog: str


class RawEvent(NamedTuple):
    """One accepted event. `stored` is None where the stream has not rated it."""

    place: Coordinate
    id: str
    identity: bytes
    occurred_us: int
    record_ms: int
    counted: bool
    quantity: int
    stored: StoredRating | None


def events_of(
    client: Client, wanted: SpanBorders, *, meter: Meter, group: GroupKey, below: RawState
) -> Iterator[RawEvent]:
    """Every event of one meter and group between the outer borders, a block at a time.

    What lies beyond the cut of `below` is left out.

    Raises `DependencyDown`, also on the way.
    """
    values = dict(group)
    parameters = {
        "customer": wanted.customer_id,
        "meter": meter.key,
        "group": canonical({name: values.get(name, "") for name in meter.group_by}),
        "borders": [wanted.borders_us[0], wanted.borders_us[-1]],
        **below.parameters(),
    }
    with (
        clickhouse_errors("reading the events of a charge"),
        client.query_arrow_stream(
            _EVENTS, parameters=parameters, settings=_SPILL, use_strings=True
        ) as blocks,
    ):
        for block in blocks:
            yield from _events(block)


def _events(block: pa.RecordBatch) -> Iterator[RawEvent]:
    exact = {name: units_of(block.column(name)) for name in _EXACT}
    for at, row in enumerate(block.select(_PLAIN).to_pylist()):
        stored = StoredRating(
            exact["cumulative_before"][at],
            exact["included"][at],
            exact["overage"][at],
            exact["charge"][at],
            row["price_version"],
            row["catalog"],
        )
        yield RawEvent(
            Coordinate(row["stream"], row["partition"], row["offset"], row["index"]),
            row["id"],
            row["identity"],
            row["occurred_us"],
            row["record_ms"],
            row["counted"],
            exact["quantity"][at],
            stored if row["is_rated"] else None,
        )
