"""What a billing period would come to without some events, or with others; nothing is written."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import orjson
from clickhouse_connect.driver.client import Client

from billing.bills import Biller, CustomerBill
from billing.group_text import group_key
from billing.period_name import PeriodName
from billing.usage import borders_of
from metering.catalog import Aggregation, Meter
from metering.decimals import units_of
from rating_engine.bill import bill
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.combine import Quantity, combined
from rating_engine.exact import ONE_UNIT
from rating_engine.period_rater import PeriodRater
from rating_engine.price_book.book import PriceBook
from sinks.clickhouse import clickhouse_errors

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVENTS = """
SELECT identity, quantity, toUnixTimestamp64Micro(occurred_at) AS at_us, dimensions
FROM billable_events
WHERE customer_id = %(customer)s AND meter = %(meter)s AND `group` = %(group)s
  AND arrayCount(b -> b <= toUnixTimestamp64Micro(occurred_at), %(borders)s) = 1
ORDER BY record_time, partition, offset, `index`
"""


class Happening(NamedTuple):
    """What counts of an event; `quantity` is 10^-12 units, `at_us` Unix microseconds."""

    identity: bytes
    quantity: int
    at_us: int
    dimensions: str


class Change(NamedTuple):
    """For one customer, meter and group (canonical JSON): identities that go, events that come."""

    customer_id: str
    meter: str
    group: str
    without: frozenset[bytes]
    added: tuple[Happening, ...] = ()


class WhatIf:
    """Bills before and after changes to usage, under one price book."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._client = client
        self._book = book
        self._biller = Biller(client, book)

    def period_name(self, customer_id: str, at_us: int) -> PeriodName:
        """The billing period of a customer that holds a moment, by its first day."""
        calendar = self._book.calendar_of(customer_id) or BillingCalendar()
        start = calendar.period_of(at_us).start
        local = (_EPOCH + timedelta(seconds=start)).astimezone(_zone(calendar))
        return PeriodName.read(f"{local:%Y-%m-%d}")

    def period(self, customer_id: str, name: PeriodName) -> BillingPeriod:
        """What a name means for a customer; calendar months in UTC without a subscription."""
        return name.of(self._book.calendar_of(customer_id) or BillingCalendar())

    def bills(
        self, name: PeriodName, changes: Sequence[Change]
    ) -> tuple[CustomerBill | None, CustomerBill | None]:
        """The bill of a period as it is, and with `changes` (at least one, of one customer).

        Both are None where no subscription touches the period. Raises `DependencyDown`.
        """
        before = self._biller.bill_of(changes[0].customer_id, name)
        if before is None:
            return None, None
        usage = dict(before.usage)
        for change in changes:
            meter = self._book.catalog.meters.get(change.meter)
            if meter is not None:
                key = (change.meter, group_key(change.group))
                usage[key] = self._usage(before, change, meter=meter)
                if all(each is None for each in usage[key]):
                    del usage[key]
        spans = [each.span for each in before.spans]
        meters = self._book.catalog.meters.items()
        after = bill(
            spans,
            usage,
            period=before.period.length_us,
            aggregations={key: meter.aggregation for key, meter in meters},
        )
        return before, replace(before, usage=usage, bill=after)

    def _usage(self, found: CustomerBill, change: Change, *, meter: Meter) -> list[Quantity]:
        borders = borders_of(found.customer_id, found.period, spans=found.spans).borders_us
        events = [
            each
            for each in (*self._events(change, borders), *change.added)
            if each.identity not in change.without and borders[0] <= each.at_us < borders[-1]
        ]
        rater = PeriodRater(
            [each.span for each in found.spans],
            meter.key,
            period=found.period.length_us,
            group=group_key(change.group),
            aggregation=meter.aggregation,
        )
        together = {at: low for low, high in rater.parts for at in range(low, high + 1)}
        own: list[list[Happening]] = [[] for _ in found.spans]
        for each in events:
            own[bisect_right(borders, each.at_us) - 1].append(each)
        seen: set[tuple[int, str]] = set()
        return [
            _quantity(each, meter, seen=seen, part=together.get(at, at))
            for at, each in enumerate(own)
        ]

    def _events(self, change: Change, borders: Sequence[int]) -> list[Happening]:
        parameters = {
            "customer": change.customer_id, "meter": change.meter, "group": change.group,
            "borders": [borders[0], borders[-1]],
        }  # fmt: skip
        with clickhouse_errors("reading the events of a charge"):
            table = self._client.query_arrow(_EVENTS, parameters=parameters, use_strings=True)
        found = []
        for batch in table.to_batches():
            quantities = units_of(batch.column("quantity"))
            for row, quantity in zip(batch.to_pylist(), quantities, strict=True):
                found.append(Happening(row["identity"], quantity, row["at_us"], row["dimensions"]))
        return found


def _quantity(
    events: Sequence[Happening], meter: Meter, *, seen: set[tuple[int, str]], part: int
) -> Quantity:
    """What the events of one span come to; None where there are none."""
    if not events:
        return None
    how = meter.aggregation
    if how is Aggregation.COUNT:
        return len(events) * ONE_UNIT
    if how is Aggregation.LATEST:
        return max(events, key=lambda each: (each.at_us, each.identity)).quantity
    if how is not Aggregation.UNIQUE_COUNT:
        return combined([each.quantity for each in events], how)
    assert meter.counted_dimension is not None, "unique_count names what it counts"
    values = {
        (part, orjson.loads(each.dimensions or "{}").get(meter.counted_dimension, ""))
        for each in events
    }
    new = values - seen
    seen |= values
    return len(new) * ONE_UNIT


def _zone(calendar: BillingCalendar) -> ZoneInfo:
    return ZoneInfo(calendar.time_zone)
