"""Exact quantities of billing periods, by span: from raw history, and from live totals.

Raw history is the authority: what invoices derive from. Totals are what the stream keeps; both
come to the same, and who shows both may say so. One query for many customers, each with the
borders of its own spans; what comes back is as large as their meters and groups, not their events.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from billing.group_text import group_key
from metering.catalog import Aggregation, Meter
from metering.decimals import units_of
from rating_engine.billing_period import BillingPeriod
from rating_engine.combine import Quantity
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PricedSpan
from sinks.clickhouse import clickhouse_errors

_SECOND_US = 1_000_000

#: The span of a moment, from 1; 0 or the number of borders where it lies outside. Filtering by
#: what this says, and by no condition on the time, keeps FINAL from reading some months only: an
#: identity that was written to two of them has to be folded first.
_SPAN = """arrayCount(b -> b <= toUnixTimestamp64Micro({moment}),
        arrayElement(%(borders)s, transform(customer_id, %(customers)s, %(profiles)s, 1)))"""
_INSIDE = """span > 0 AND span < length(
    arrayElement(%(borders)s, transform(customer_id, %(customers)s, %(profiles)s, 1)))
"""
_RAW = f"""
SELECT customer_id, toString(meter) AS meter, `group`, toUInt32(span) AS span,
       transform(meter, %(meters)s, %(aggregations)s, 'sum') AS aggregation,
       multiIf(
           aggregation = 'count', toDecimal256(count(), 12),
           aggregation = 'unique_count', toDecimal256(countIf(counted), 12),
           aggregation = 'max', toDecimal256(max(quantity), 12),
           aggregation = 'latest', toDecimal256(
               argMaxIf(quantity, (occurred_at, identity), meter IN %(latest)s), 12),
           sum(toDecimal256(quantity, 12))) AS quantity
FROM
(
    SELECT customer_id, meter, `group`, e.quantity, occurred_at, identity, counted,
           {_SPAN.format(moment="occurred_at")} AS span
    FROM billable_events AS e
    WHERE customer_id IN %(customers)s
)
WHERE {_INSIDE}
GROUP BY customer_id, meter, `group`, span
"""
#: A window lies within one span, so any of its moments says which.
_TOTALS = f"""
SELECT customer_id, toString(meter) AS meter, `group`, toUInt32(span) AS span,
       multiIf(
           any(aggregation) = 'max', max(t.quantity),
           any(aggregation) = 'latest', argMax(t.quantity, (last_occurred_at, last_identity)),
           sum(t.quantity)) AS quantity
FROM
(
    SELECT customer_id, meter, `group`, quantity, aggregation, last_occurred_at, last_identity,
           {_SPAN.format(moment="first_occurred_at")} AS span
    FROM usage_totals FINAL
    WHERE customer_id IN %(customers)s AND events > 0
) AS t
WHERE {_INSIDE}
GROUP BY customer_id, meter, `group`, span
"""
_COMPLETE = "SELECT toUnixTimestamp64Milli(complete_to) FROM complete_to"

#: By meter and group, the quantity (10^-12 units) of each span; None where nothing occurred.
SpanUsage = dict[tuple[str, GroupKey], list[Quantity]]


class SpanBorders(NamedTuple):
    """Whose usage, and between which moments: the start of every span, and the end of the last.

    Unix microseconds UTC, ascending, two or more.
    """

    customer_id: str
    borders_us: tuple[int, ...]


def borders_of(
    customer_id: str, period: BillingPeriod, *, spans: Sequence[PricedSpan]
) -> SpanBorders:
    """The borders of a customer's `spans` (at least one) within `period`."""
    start_us = period.start * _SECOND_US
    inner = (start_us + each.span.start for each in spans)
    return SpanBorders(customer_id, (*inner, start_us + spans[-1].span.end))


class UsageReader:
    """Reads quantities for a chunk of customers at a time, one query each."""

    def __init__(self, client: Client, meters: Mapping[str, Meter]) -> None:
        """`meters` say how raw events aggregate; what is not in them adds up."""
        self._client = client
        self._meters = {
            "meters": list(meters) or [""],
            "aggregations": [str(meter.aggregation) for meter in meters.values()] or [""],
            "latest": [
                key
                for key, meter in meters.items()
                if meter.aggregation is Aggregation.LATEST
            ] or [""],
        }  # fmt: skip

    def raw(self, wanted: Sequence[SpanBorders]) -> dict[str, SpanUsage]:
        """Usage by customer, from raw history; those without any are not in it.

        Raises `DependencyDown`.
        """
        return self._read(_RAW, wanted)

    def totals(self, wanted: Sequence[SpanBorders]) -> dict[str, SpanUsage]:
        """The same from live totals, as of now."""
        return self._read(_TOTALS, wanted)

    def complete_to_ms(self) -> int:
        """To which moment live totals are complete (Unix milliseconds UTC); 0 before the first."""
        with clickhouse_errors("reading to when totals are complete"):
            return int(self._client.query(_COMPLETE).result_rows[0][0] or 0)

    def _read(self, sql: str, wanted: Sequence[SpanBorders]) -> dict[str, SpanUsage]:
        if not wanted:
            return {}
        profiles: dict[tuple[int, ...], int] = {}
        for each in wanted:
            profiles.setdefault(each.borders_us, len(profiles) + 1)
        parameters = {
            "customers": [each.customer_id for each in wanted],
            "profiles": [profiles[each.borders_us] for each in wanted],
            "borders": [list(borders) for borders in profiles],
            **self._meters,
        }
        with clickhouse_errors("reading usage of billing periods"):
            table = self._client.query_arrow(sql, parameters=parameters, use_strings=True)
        lengths = {each.customer_id: len(each.borders_us) - 1 for each in wanted}
        return _by_customer(table, lengths)


def _by_customer(table: pa.Table, lengths: Mapping[str, int]) -> dict[str, SpanUsage]:
    found: dict[str, SpanUsage] = {}
    for batch in table.to_batches():
        columns = [batch.column(name).to_pylist() for name in ("customer_id", "meter", "group")]
        spans = batch.column("span").to_pylist()
        quantities = units_of(batch.column("quantity"))
        for customer, meter, group, span, quantity in zip(*columns, spans, quantities, strict=True):
            usage = found.setdefault(customer, {})
            length = lengths[customer]
            usage.setdefault((meter, group_key(group)), [None] * length)[span - 1] = quantity
    return found
