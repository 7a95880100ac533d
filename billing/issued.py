"""Which invoices there are: of a period as people name it, each in its customer's own calendar."""

from collections.abc import Collection

from clickhouse_connect.driver.client import Client

from billing.period_name import PeriodName
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from sinks.clickhouse import clickhouse_errors

_UTC = BillingCalendar()
_PERIODS = """
SELECT DISTINCT customer_id, toUnixTimestamp({column}) AS start FROM {table}
WHERE start >= %(low)s AND start < %(high)s AND ({which})
ORDER BY customer_id, start
"""


def issued_periods(
    client: Client, name: PeriodName | None, *, book: PriceBook, customers: Collection[str] = ()
) -> list[tuple[str, int]]:
    """Customer and start of the period (Unix seconds) of every invoice that `name` means.

    None means all of them. A customer who is not in `book` any more has calendar months in UTC.
    Raises `DependencyDown`.
    """
    asked = _PERIODS.replace("{column}", "period_start").replace("{table}", "invoices")
    return _meant(client, asked, name=name, book=book, customers=customers)


def posted_periods(
    client: Client, name: PeriodName | None, *, book: PriceBook, customers: Collection[str] = ()
) -> list[tuple[str, int]]:
    """The same of every period that adjustments or credits are posted to, invoiced or not."""
    asked = _PERIODS.replace("{column}", "posted_to").replace("{table}", "adjustments")
    return _meant(client, asked, name=name, book=book, customers=customers)


def _meant(
    client: Client, asked: str, *, name: PeriodName | None, book: PriceBook,
    customers: Collection[str],
) -> list[tuple[str, int]]:  # fmt: skip
    low, high = (0, 1 << 32) if name is None else name.window()
    which = "customer_id IN %(customers)s" if customers else "1"
    with clickhouse_errors("reading which invoices and adjustments there are"):
        rows = client.query(
            asked.replace("{which}", which),
            parameters={"low": low, "high": high, "customers": list(customers) or [""]},
        ).result_rows
    return [
        (str(customer_id), int(start))
        for customer_id, start in rows
        if name is None or name.of(book.calendar_of(str(customer_id)) or _UTC).start == start
    ]
