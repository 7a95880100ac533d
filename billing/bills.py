"""Bills derived from raw history: for one customer, or for all of them in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice

from clickhouse_connect.driver.client import Client

from billing.period_name import PeriodName
from billing.usage import SpanBorders, SpanEvidence, SpanUsage, UsageAt, UsageReader, borders_of
from rating_engine.bill import Bill, bill
from rating_engine.billing_period import BillingPeriod
from rating_engine.price_book.book import PriceBook, PricedSpan
from sinks.billing_runs import RawState

#: Customers whose usage is read by one query, and held at a time.
CHUNK_CUSTOMERS = 1000


@dataclass(frozen=True, slots=True)
class CustomerBill:
    """A customer's billing period: what priced it, what was used in each span, and what is due.

    `evidence` says what the usage is made of, where the bill is as of a cut.
    """

    customer_id: str
    period: BillingPeriod
    spans: tuple[PricedSpan, ...]
    usage: SpanUsage
    bill: Bill
    evidence: SpanEvidence = field(default_factory=dict)

    @property
    def subscription(self) -> str:
        """Id of the last one that touches the period."""
        held = (each.subscription for each in reversed(self.spans))
        return next(each.id for each in held if each is not None)


#: Billing periods by customer, and what prices them.
Priced = dict[str, tuple[BillingPeriod, tuple[PricedSpan, ...]]]


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
        periods = self.priced(customers, name)
        found = self._reader.raw(_borders(periods))
        return [
            self._bill(customer_id, period, spans=spans, at=UsageAt(found.get(customer_id, {}), {}))
            for customer_id, (period, spans) in periods.items()
        ]

    def chunk_at(
        self, customers: Sequence[str], name: PeriodName, *, state: RawState
    ) -> list[CustomerBill]:
        """The same as of a cut, with evidence: the same raw history gives the same, always."""
        periods = self.priced(customers, name)
        found = self._reader.raw_at(_borders(periods), state)
        return [
            self._bill(customer_id, period, spans=spans, at=found.get(customer_id, UsageAt({}, {})))
            for customer_id, (period, spans) in periods.items()
        ]

    def rebill(self, found: CustomerBill, usage: SpanUsage) -> CustomerBill:
        """The bill of other usage, for the same customer, period and prices."""
        return self._bill(found.customer_id, found.period, spans=found.spans, at=UsageAt(usage, {}))

    def priced(self, customers: Iterable[str], name: PeriodName) -> Priced:
        """The period of each customer, and what prices it; none without a subscription in it."""
        periods: Priced = {}
        for customer_id in customers:
            calendar = self._book.calendar_of(customer_id)
            if calendar is None:
                continue
            period = name.of(calendar)
            spans = self._book.spans(customer_id, period)
            if spans:
                periods[customer_id] = period, spans
        return periods

    def _bill(
        self,
        customer_id: str,
        period: BillingPeriod,
        *,
        spans: tuple[PricedSpan, ...],
        at: UsageAt,
    ) -> CustomerBill:
        due = bill(
            [each.span for each in spans],
            at.usage,
            period=period.length_us,
            aggregations=self._aggregations,
        )
        return CustomerBill(customer_id, period, spans, at.usage, due, at.evidence)


def _borders(periods: Priced) -> list[SpanBorders]:
    return [
        borders_of(customer_id, period, spans=spans)
        for customer_id, (period, spans) in periods.items()
    ]


def customers_of(book: PriceBook) -> Iterator[str]:
    """Every customer that ever had a subscription, in order."""
    for customer_id, _ in groupby(book.subscriptions, key=lambda each: each.customer_id):
        yield customer_id


def chunks(customers: Iterable[str], size: int = CHUNK_CUSTOMERS) -> Iterator[list[str]]:
    """`customers` in lists of at most `size`."""
    remaining = iter(customers)
    while chunk := list(islice(remaining, size)):
        yield chunk
