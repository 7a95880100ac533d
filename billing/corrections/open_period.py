"""The period that money may still be posted to."""

from billing.corrections.billed import BilledSoFar
from billing.corrections.policy import NotAllowed
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.price_book.book import PriceBook

_SECOND_US = 1_000_000


class OpenPeriods:
    """Finds them for customers of one price book."""

    def __init__(self, billed: BilledSoFar, book: PriceBook) -> None:
        """`billed` knows which periods were invoiced."""
        self._billed = billed
        self._book = book

    def at_or_after(self, customer_id: str, period: BillingPeriod) -> BillingPeriod:
        """`period`, or the first after it that has no invoice. Raises `DependencyDown`."""
        calendar = self._book.calendar_of(customer_id) or BillingCalendar()
        issued = self._billed.issued_starts(customer_id, period.start)
        while period.start in issued:
            period = calendar.period_of(period.end * _SECOND_US)
        return period

    def require_currency(self, customer_id: str, period: BillingPeriod, *, code: str) -> None:
        """Raise `NotAllowed` where a customer is not charged in this currency in a period."""
        spans = self._book.spans(customer_id, period)
        known = sorted({each.span.plan.currency.code for each in spans})
        if known and known != [code]:
            msg = f"--currency: expected {known[0]}, which {customer_id} is charged in, got {code}"
            raise NotAllowed(msg)
