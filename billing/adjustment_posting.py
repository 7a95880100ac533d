"""What late usage and corrections have in common: what differs, written as adjustments."""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain

from clickhouse_connect.driver.client import Client

from billing.late_differences import CustomerDifference, LateDifferences
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.stored_rows import card_columns
from sinks.adjustment_rows import AdjustmentEventRow, AdjustmentLineRow, AdjustmentRow
from sinks.billing_runs import RunStore
from sinks.invoice_store import InvoiceStore
from sinks.rating_tables import card_table

#: Customers at a time: their late events are held in memory.
_CHUNK_CUSTOMERS = 250
_SECOND_US = 1_000_000
#: An adjustment with its lines and the events behind them (see `posted`).
Posted = tuple[AdjustmentRow, list[AdjustmentLineRow], list[AdjustmentEventRow]]


class AdjustmentPosting:
    """Finds what differs under one price book, and posts it. Calls may raise `DependencyDown`."""

    def __init__(
        self, client: Client, book: PriceBook, *, store: InvoiceStore, now: Callable[[], int]
    ) -> None:
        """`now` tells Unix microseconds UTC."""
        self._client = client
        self._book = book
        self._store = store
        self._now = now
        self._runs = RunStore(client, store.before_step)
        self._late = LateDifferences(client, book, store=store)

    def _post(self, found: Sequence[Posted]) -> None:
        """Write adjustments, with the rate cards that are new."""
        if found:
            rows, lines, events = zip(*found, strict=True)
            self._store.adjust(
                rows,
                list(chain.from_iterable(lines)),
                events=list(chain.from_iterable(events)),
                cards=card_table(card_columns(self._late.take_new_cards())),
            )

    def _open_periods(self, found: Sequence[CustomerDifference]) -> list[int]:
        """Of each the start of the first period from the adjusted one on without an invoice."""
        invoiced = self._store.invoiced([each.customer_id for each in found])
        return [
            open_period(each, invoiced.get(each.customer_id, ()), book=self._book)
            for each in found
        ]  # fmt: skip


def open_period(found: CustomerDifference, invoiced: Collection[int], *, book: PriceBook) -> int:
    """The start of the first period from the adjusted one on that is not among `invoiced`."""
    calendar = book.calendar_of(found.customer_id) or BillingCalendar()
    period = found.period
    while period.start in invoiced:
        period = calendar.period_of(period.end * _SECOND_US)
    return period.start


def chunks_of(periods: Sequence[tuple[str, int]]) -> Iterable[list[tuple[str, int]]]:
    """Periods of so many customers as are held at a time."""
    return (
        list(periods[at : at + _CHUNK_CUSTOMERS])
        for at in range(0, len(periods), _CHUNK_CUSTOMERS)
    )  # fmt: skip
