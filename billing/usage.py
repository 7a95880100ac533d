"""Exact quantities of billing periods, by span: from raw history, and from live totals.

Raw history is the authority: what invoices derive from. Totals are what the stream keeps; both
come to the same, and who shows both may say so. One query for many customers, each with the
borders of its own spans; what comes back is as large as their meters and groups, not their events.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from billing import usage_sql as sql
from billing.group_text import group_key
from metering.catalog import Aggregation, Meter
from metering.decimals import units_of
from rating_engine.billing_period import BillingPeriod
from rating_engine.combine import Quantity, combined
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PricedSpan
from sinks.billing_runs import RawState
from sinks.clickhouse import clickhouse_errors

_SECOND_US = 1_000_000
_HASHES = 1 << 128

_COMPLETE = "SELECT toUnixTimestamp64Milli(complete_to) FROM complete_to"

#: By meter and group, the quantity (10^-12 units) of each span; None where nothing occurred.
SpanUsage = dict[tuple[str, GroupKey], list[Quantity]]


class Evidence(NamedTuple):
    """What a quantity is made of: how many events, and the sum (mod 2^128) of their hashes.

    `is_rated`: the stream found a price for one of them at least.
    """

    events: int = 0
    identities: int = 0
    is_rated: bool = False

    def __add__(self, other: object) -> "Evidence":
        """Both together; they have no event in common."""
        if not isinstance(other, Evidence):
            return NotImplemented
        return Evidence(
            self.events + other.events,
            (self.identities + other.identities) % _HASHES,
            self.is_rated or other.is_rated,
        )

    def identities_hash(self) -> bytes:
        """The sum as it is stored: 16 bytes, the low one first."""
        return self.identities.to_bytes(16, "little")


#: By meter and group, the evidence of each span.
SpanEvidence = dict[tuple[str, GroupKey], list[Evidence]]


class UsageAt(NamedTuple):
    """Usage of one customer at a cut, and what it is made of."""

    usage: SpanUsage
    evidence: SpanEvidence


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

        counted = {key: each.counted_dimension for key, each in meters.items()}
        named = {key: name for key, name in counted.items() if name is not None}
        self._distinct = {"distinct": list(named), "dimensions": list(named.values())}

    def raw(
        self, wanted: Sequence[SpanBorders], below: RawState | None = None
    ) -> dict[str, SpanUsage]:
        """Usage by customer, from raw history as of now; those without any are not in it.

        With `below` without what lies beyond its cut. Raises `DependencyDown`.
        """
        source, more = (sql.NOW, {}) if below is None else (sql.NOW_BELOW_CUT, below.parameters())
        asked = sql.RAW.format(source=source, counted="counted", more="")
        return _by_customer(self._read(asked, wanted, **more), _lengths(wanted))

    def raw_at(self, wanted: Sequence[SpanBorders], state: RawState) -> dict[str, UsageAt]:
        """The same as of a cut, with what it is made of; always the same for one `state`."""
        counted = sql.FIRST_AT_CUT if self._distinct["distinct"] else "counted"
        asked = sql.RAW.format(source=sql.AT_CUT, counted=counted, more=sql.EVIDENCE)
        table = self._read(asked, wanted, **state.parameters(), **self._distinct)
        lengths = _lengths(wanted)
        usage, evidence = _by_customer(table, lengths), _evidence(table, lengths)
        return {each: UsageAt(usage[each], evidence[each]) for each in usage}

    def totals(self, wanted: Sequence[SpanBorders]) -> dict[str, SpanUsage]:
        """The same from live totals, as of now."""
        asked = sql.TOTALS.format(source=sql.LIVE, inner="", more="")
        return _by_customer(self._read(asked, wanted), _lengths(wanted))

    def totals_at(
        self, wanted: Sequence[SpanBorders], state: RawState
    ) -> tuple[dict[str, SpanUsage], set[str]]:
        """The same, and of whom some moved on beyond the cut, where raw history was not read."""
        asked = sql.TOTALS.format(source=sql.LIVE_AT_CUT, inner=sql.INNER_MOVING, more=sql.MOVING)
        table = self._read(asked, wanted, **state.parameters())
        moving: set[str] = set()
        for batch in table.to_batches():
            columns = (batch.column(name).to_pylist() for name in ("customer_id", "is_moving"))
            moving |= {customer for customer, is_moving in zip(*columns, strict=True) if is_moving}
        return _by_customer(table, _lengths(wanted)), moving

    def complete_to_ms(self) -> int:
        """To which moment live totals are complete (Unix milliseconds UTC); 0 before the first."""
        with clickhouse_errors("reading to when totals are complete"):
            return int(self._client.query(_COMPLETE).result_rows[0][0] or 0)

    def _read(self, asked: str, wanted: Sequence[SpanBorders], **more: object) -> pa.Table:
        if not wanted:
            return pa.table({})
        parameters = {**span_parameters(wanted), **self._meters, **more}
        with clickhouse_errors("reading usage of billing periods"):
            return self._client.query_arrow(asked, parameters=parameters, use_strings=True)


def span_parameters(wanted: Sequence[SpanBorders]) -> dict[str, object]:
    """Parameters `customers`, `profiles` and `borders`: each customer's spans, equal ones once."""
    profiles: dict[tuple[int, ...], int] = {}
    for each in wanted:
        profiles.setdefault(each.borders_us, len(profiles) + 1)
    return {
        "customers": [each.customer_id for each in wanted],
        "profiles": [profiles[each.borders_us] for each in wanted],
        "borders": [list(borders) for borders in profiles],
    }


def _lengths(wanted: Sequence[SpanBorders]) -> dict[str, int]:
    return {each.customer_id: len(each.borders_us) - 1 for each in wanted}


def _by_customer(table: pa.Table, lengths: Mapping[str, int]) -> dict[str, SpanUsage]:
    found: dict[str, SpanUsage] = {}
    for batch in table.to_batches():
        columns = [batch.column(name).to_pylist() for name in ("customer_id", "meter", "group")]
        columns += [batch.column(name).to_pylist() for name in ("aggregation", "span")]
        quantities = units_of(batch.column("quantity"))
        for customer, meter, group, aggregation, span, quantity in zip(
            *columns, quantities, strict=True
        ):
            spans = found.setdefault(customer, {}).setdefault(
                (meter, group_key(group)), [None] * lengths[customer]
            )
            known = spans[span - 1]
            if known is None:
                spans[span - 1] = quantity
            else:  # what a meter groups by was changed: two texts are one group
                spans[span - 1] = combined([known, quantity], Aggregation(aggregation))
    return found


def _evidence(table: pa.Table, lengths: Mapping[str, int]) -> dict[str, SpanEvidence]:
    found: dict[str, SpanEvidence] = {}
    for batch in table.to_batches():
        for row in batch.drop_columns(["quantity", "aggregation"]).to_pylist():
            customer = row["customer_id"]
            spans = found.setdefault(customer, {}).setdefault(
                (row["meter"], group_key(row["group"])), [Evidence()] * lengths[customer]
            )
            identities = int.from_bytes(row["identities"], "little")
            spans[row["span"] - 1] += Evidence(row["events"], identities, bool(row["is_rated"]))
    return found
