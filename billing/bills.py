"""Bills derived from raw history: for one customer, or for all of them in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from clickhouse_connect.driver.client import Client

from billing.period_name import PeriodName
from billing.usage import SpanUsage, UsageReader, borders_of
from rating_engine.bill import Bill, bill
from rating_engine.billing_period import BillingPeriod
from rating_engine.price_book.book import PriceBook, PricedSpan

#: Customers whose usage is read by one query, and held at a time.
CHUNK_CUSTOMERS = 1000


@dataclass(frozen=True, slots=True)
class CustomerBill:
    """A customer's billing period: what priced it, what was used in each span, and what is due."""

    customer_id: str
    period: BillingPeriod
    spans: tuple[PricedSpan, ...]
    usage: SpanUsage
    bill: Bill


class Biller:
    """Derives bills under one price book. The same raw history gives the same bills, always."""

    def __init__(self, client: Client, book: PriceBook) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._book = book
        self._reader = UsageReader(client, book.catalog.meters)
        self._aggregations = {
            key: meter.aggregation for key, meter in book.catalog.meters.items()
        }  # fmt: skip

    def bill_of(self, customer_id: str, name: PeriodName) -> CustomerBill | None:
        """One customer's bill; None where no subscription touches the period.

        Raises `DependencyDown`.
        """
        return next(iter(self.chunk([customer_id], name)), None)

    def bills(self, customers: Iterable[str], name: PeriodName) -> Iterator[CustomerBill]:
        """Bills in the order of `customers`, which are read a chunk at a time."""
        for chunk in chunks(customers):
            yield from self.chunk(chunk, name)

    def chunk(self, customers: list[str], name: PeriodName) -> list[CustomerBill]:
        """The bills of some customers, with one query; those without a subscription have none."""
        periods: dict[str, tuple[BillingPeriod, tuple[PricedSpan, ...]]] = {}
        for customer_id in customers:
            calendar = self._book.calendar_of(customer_id)
            if calendar is None:
                continue
            period = name.of(calendar)
            spans = self._book.spans(customer_id, period)
            if spans:
                periods[customer_id] = period, spans
        found = self._reader.raw(
            [
                borders_of(customer_id, period, spans=spans)
                for customer_id, (period, spans) in periods.items()
            ]
        )
        return [
            self._bill(customer_id, period, spans=spans, usage=found.get(customer_id, {}))
            for customer_id, (period, spans) in periods.items()
        ]

    def _bill(
        self,
        customer_id: str,
        period: BillingPeriod,
        *,
        spans: tuple[PricedSpan, ...],
        usage: SpanUsage,
    ) -> CustomerBill:
        due = bill(
            [each.span for each in spans],
            usage,
            period=period.length_us,
            aggregations=self._aggregations,
        )
        return CustomerBill(customer_id, period, spans, usage, due)


def customers_of(book: PriceBook) -> Iterator[str]:
    """Every customer that ever had a subscription, in order."""
    for customer_id, _ in groupby(book.subscriptions, key=lambda each: each.customer_id):
        yield customer_id


def chunks(customers: Iterable[str], size: int = CHUNK_CUSTOMERS) -> Iterator[list[str]]:
    """`customers` in lists of at most `size`."""
    remaining = iter(customers)
    while chunk := list(islice(remaining, size)):
        yield chunk
