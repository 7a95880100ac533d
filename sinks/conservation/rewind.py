"""Sets one partition's totals back, so that what is missing from raw counts when it is read again.

An event at or below its unit's `absorbed_offset` is taken to be counted and is skipped, so to read
a stretch of the log again is not enough where raw lost rows: totals have to forget it first.

    1  fence    nobody may write under what was known before
    2  forget   rows of totals that are absorbed up to the offset or beyond
    3  rewrite  what raw adds up to before the offset, absorbed up to there
    A crash after 2 leaves totals that lack what is before the offset, as `verify` shows and
    `verify --repair` mends. Raw is not touched.
"""

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from metering.claims import DedupStore
from sinks.clickhouse import clickhouse_errors
from sinks.conservation.findings import Cut
from sinks.conservation.repair import rewrite_totals

_FORGET = """
DELETE FROM usage_totals
WHERE stream = %(stream)s AND partition = %(partition)s AND absorbed_offset >= %(offset)s
"""
_TAKEN_BACK = """
SELECT count() FROM usage_events FINAL
WHERE stream = %(stream)s AND partition = %(partition)s AND offset >= %(offset)s
  AND (customer_id, meter, identity) IN
      (SELECT customer_id, meter, identity FROM retracted_events FINAL WHERE is_retracted)
"""


def taken_back_from(client: Client, *, stream: str, partition: int, offset: int) -> int:
    """How many events from `offset` on corrections took back: totals will count them again.

    Raises `DependencyDown`.
    """
    parameters = {"stream": stream, "partition": partition, "offset": offset}
    with clickhouse_errors("counting events that were taken back"):
        return int(client.query(_TAKEN_BACK, parameters=parameters).result_rows[0][0])


def rewind_totals(
    client: Client, catalog: Catalog, *, store: DedupStore, stream: str, partition: int, offset: int
) -> None:
    """Make totals as they were before `offset`; its readers must have been stopped.

    Raises `DependencyDown`, `DedupMemoryLost`.
    """
    store.begin(stream, partition)
    parameters = {"stream": stream, "partition": partition, "offset": offset}
    with clickhouse_errors("setting totals back"):
        client.command(_FORGET, parameters=parameters, settings={"lightweight_deletes_sync": 2})
    rewrite_totals(client, catalog, cuts=[Cut(stream, partition, 0, offset)])
