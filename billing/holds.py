"""Which billing periods are not to be invoiced: held by a correction, or by a review."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from billing.bills import Priced
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from sinks.invoice_store import InvoiceStore
from sinks.review_holds import review_holds


class Holds:
    """Asks for holds, under one price book."""

    def __init__(self, client: Client, book: PriceBook, *, store: InvoiceStore) -> None:
        """Reads through `client` and `store`."""
        self._client = client
        self._book = book
        self._store = store

    def of(self, priced: Priced) -> set[str]:
        """Customers whose period is held; `priced` as `Biller.priced` gives it.

        A correction names the period by its start, a review by the month in which it begins where
        the customer lives. Raises `DependencyDown`.
        """
        by_correction = self._store.held(list(priced))
        months = {
            customer_id: month_of(
                period.start, self._book.calendar_of(customer_id) or BillingCalendar()
            )
            for customer_id, (period, _) in priced.items()
        }
        by_review = review_holds(self._client, list(priced), set(months.values()))
        return {
            customer_id
            for customer_id, (period, _) in priced.items()
            if period.start in by_correction.get(customer_id, ())
            or (customer_id, months[customer_id]) in by_review
        }


def month_of(start: int, calendar: BillingCalendar) -> str:
    """The month, like 2026-06, in which a period that starts then (Unix seconds) begins."""
    return f"{datetime.fromtimestamp(start, UTC).astimezone(ZoneInfo(calendar.time_zone)):%Y-%m}"
