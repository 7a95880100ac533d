"""The period that money may still be posted to, and adjustments made for it."""

from collections.abc import Sequence

from billing.corrections.billed import BilledSoFar, amount_of
from billing.corrections.policy import NotAllowed
from billing.corrections.rerated import ReratedCustomer, ReratedLine
from metering.correction import Correction
from rating_engine.billing_period import BillingCalendar, BillingPeriod
from rating_engine.money import Money
from rating_engine.price_book.book import PriceBook
from sinks.correction_adjustments import Adjustment, AdjustmentLine

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


def credit(
    found: Correction, period: BillingPeriod, *, posted_to: int, amount: Money, catalog: str
) -> tuple[Adjustment, list[AdjustmentLine]]:
    """The adjustment of kind credit: one line, signed as it was asked for."""
    whole = amount_of(amount)
    line = AdjustmentLine(
        "credit", "", "", period.start, period.end, 0, 0, 0, 0, 0, 0, 0,
        whole * 10**20, 0, whole, "", 0,
    )  # fmt: skip
    head = Adjustment(
        found.customer_id, period.start, found.correction_id, "", "credit", posted_to,
        amount.currency.code, amount.currency.minor_digits, 1, catalog, found.author,
        _reason(found),
    )  # fmt: skip
    return head, [line]


def rerating(
    found: Correction, rerated: ReratedCustomer, *, posted_to: int, catalog: str
) -> tuple[Adjustment, list[AdjustmentLine]]:
    """The adjustment of kind rerating, under the next calculation version."""
    billed = rerated.billed
    assert billed is not None, "only what was invoiced is adjusted"
    head = Adjustment(
        rerated.customer_id, rerated.period.start, found.correction_id, billed.invoice_id,
        "rerating", posted_to, billed.currency, rerated.minor_digits,
        billed.calculation_version + 1, catalog, found.author, _reason(found),
    )  # fmt: skip
    return head, _lines(rerated.lines)


def _lines(found: Sequence[ReratedLine]) -> list[AdjustmentLine]:
    return [
        AdjustmentLine(
            *each.key, each.after.part_end or each.before.part_end,
            each.before.quantity, each.after.quantity, each.before.included, each.after.included,
            each.before.overage, each.after.overage, each.before.exact, each.after.exact,
            each.before.amount, each.after.amount, each.plan, each.price_version,
        )
        for each in found
    ]  # fmt: skip


def _reason(found: Correction) -> str:
    return f"{found.reason_code}: {found.note}" if found.note else str(found.reason_code)
