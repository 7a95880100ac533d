"""What came to a billing period, or was taken back, between two states of raw history."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from billing.group_text import group_key
from billing.usage import SpanBorders, span_parameters
from billing.usage_sql import CUT, INSIDE, RETRACTED_AT, SPAN
from metering.decimals import units_of
from rating_engine.period_rater import GroupKey
from sinks.billing_runs import RawState
from sinks.clickhouse import clickhouse_errors

_OLD_CUT = CUT.replace("%(cut)s", "%(old_cut)s").replace("next_offset", "old_next")
_RETRACTED_OLD = RETRACTED_AT.replace("%(as_of)s", "%(old_as_of)s")
#: How long before it could be read a retraction may have been stamped (microseconds).
_LANDING_US = 600_000_000
#: Whom to look at: more than need be, never fewer. Without FINAL, which a row that came cannot hide
#: from.
_TOUCHED = f"""
SELECT DISTINCT customer_id FROM
(
    SELECT customer_id, {SPAN.format(moment="occurred_at")} AS span
    FROM
    (
        SELECT customer_id, occurred_at, stream, partition, offset FROM usage_events
        WHERE customer_id IN %(customers)s AND NOT disregarded
    ) AS r
    LEFT JOIN ({_OLD_CUT}) AS o USING (stream, partition)
    WHERE offset >= old_next
)
WHERE {INSIDE}
UNION DISTINCT
SELECT DISTINCT customer_id FROM retracted_events
WHERE customer_id IN %(customers)s
  AND toUnixTimestamp64Micro(recorded_at) > %(old_as_of)s - {_LANDING_US}
"""
_BETWEEN = f"""
SELECT customer_id, toString(meter) AS meter, `group`, toString(stream) AS stream, partition,
       offset, `index`, is_new, id, identity, toUnixTimestamp64Micro(occurred_at) AS occurred_us,
       toUnixTimestamp64Milli(record_time) AS record_ms, r.quantity AS quantity
FROM
(
    SELECT *, {SPAN.format(moment="occurred_at")} AS span,
           offset < next_offset
               AND (customer_id, meter, identity) NOT IN ({RETRACTED_AT}) AS is_new,
           offset < old_next
               AND (customer_id, meter, identity) NOT IN ({_RETRACTED_OLD}) AS was_there
    FROM
    (
        SELECT * FROM usage_events FINAL
        WHERE customer_id IN %(customers)s AND NOT disregarded
    ) AS e
    LEFT JOIN ({CUT}) AS c USING (stream, partition)
    LEFT JOIN ({_OLD_CUT}) AS o USING (stream, partition)
) AS r
WHERE is_new != was_there AND {INSIDE}
ORDER BY customer_id, record_time, stream, partition, offset, `index`
"""


class ChangedEvent(NamedTuple):
    """An event that counts now and did not (`is_added`), or the other way round."""

    customer_id: str
    meter: str
    group: GroupKey
    stream: str
    partition: int
    offset: int
    index: int  # type: ignore[assignment]
    is_added: bool
    id: str
    identity: bytes
    occurred_us: int
    record_ms: int
    quantity: int


class LateUsage:
    """Asks raw history what changed for some customers; each with the borders of its spans."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def touched(self, wanted: Sequence[SpanBorders], old: RawState) -> set[str]:
        """Customers who may have other usage since `old`; all who have are among them."""
        if not wanted:
            return set()
        with clickhouse_errors("asking who has late usage"):
            rows = self._client.query(_TOUCHED, parameters=_bound(wanted, old)).result_rows
        return {str(row[0]) for row in rows}

    def between(
        self, wanted: Sequence[SpanBorders], old: RawState, *, new: RawState
    ) -> list[ChangedEvent]:
        """Every event that makes the difference, by customer and in the order of the log."""
        if not wanted:
            return []
        parameters = {**_bound(wanted, old), **new.parameters()}
        with clickhouse_errors("reading late usage"):
            table = self._client.query_arrow(_BETWEEN, parameters=parameters, use_strings=True)
        return list(_events(table.to_batches()))


def _bound(wanted: Sequence[SpanBorders], old: RawState) -> dict[str, object]:
    state = old.parameters()
    return {**span_parameters(wanted), "old_cut": state["cut"], "old_as_of": state["as_of"]}


def _events(batches: Iterable[pa.RecordBatch]) -> Iterator[ChangedEvent]:
    for batch in batches:
        quantities = units_of(batch.column("quantity"))
        rows = batch.drop_columns(["quantity"]).to_pylist()
        for row, quantity in zip(rows, quantities, strict=True):
            row["group"] = group_key(row["group"])
            row["is_added"] = bool(row.pop("is_new"))
            yield ChangedEvent(**row, quantity=quantity)
