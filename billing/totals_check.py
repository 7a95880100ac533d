"""Before an invoice: whether the customer's live totals are what raw history comes to at the cut.

One query for a chunk of customers compares the quantity of every span. Whose totals moved on beyond
the cut, or differ, is looked at again window by window, each at its own `absorbed_offset`; so the
answer is right while workers are running. What a correction took back is in both there, and in
neither here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from billing.bills import CustomerBill
from billing.usage import UsageReader, borders_of
from rating_engine.billing_period import BillingPeriod
from rating_engine.price_book.book import PriceBook
from sinks.billing_runs import RawState
from sinks.conservation.customer_totals import differing_totals
from sinks.conservation.findings import Cut


class Wrong(NamedTuple):
    """A window of a customer's period whose total is not right: raw history, and the total."""

    customer_id: str
    meter: str
    group: str
    window_start: str
    raw: str
    total: str


class TotalsCheck:
    """Compares totals with raw history for customers of one price book."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._client = client
        self._catalog = book.catalog
        self._reader = UsageReader(client, book.catalog.meters)

    def wrong(self, bills: Sequence[CustomerBill], state: RawState) -> list[Wrong]:
        """Every window that is wrong within the periods of `bills`. Raises `DependencyDown`."""
        borders = [borders_of(each.customer_id, each.period, spans=each.spans) for each in bills]
        live, moving = self._reader.totals_at(borders, state)
        suspects = [
            each
            for each in bills
            if each.customer_id in moving or live.get(each.customer_id, {}) != each.usage
        ]
        if not suspects:
            return []
        cuts = [Cut(end.stream, end.partition, 0, end.next_offset) for end in state.cut]
        differing = differing_totals(
            self._client,
            self._catalog,
            cuts=cuts,
            customers=[each.customer_id for each in suspects],
        )
        periods = {each.customer_id: each.period for each in suspects}
        return [
            Wrong(
                each.customer_id,
                each.meter,
                each.group,
                each.window_start,
                f"{each.expected.quantity} of {each.expected.events} events",
                f"{each.got.quantity} of {each.got.events} events",
            )
            for each in differing
            if _is_within(each.window_start, periods[each.customer_id])
        ]


def _is_within(window_start: str, period: BillingPeriod) -> bool:
    moment = datetime.fromisoformat(window_start).replace(tzinfo=UTC)
    return period.start <= int(moment.timestamp()) < period.end
