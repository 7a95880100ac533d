"""For customers with an invoice: what is due at a new cut less what was billed so far."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from billing.adjusting import (
    AdjustmentLine,
    Billed,
    BilledSoFar,
    adjustment_lines,
    billed_so_far,
    due_lines,
    same_money,
)
from billing.bills import Biller, CustomerBill
from billing.group_text import group_key
from billing.invoice_lines import LineKey, LineMaker
from billing.late_usage import ChangedEvent, LateUsage
from billing.period_name import PeriodName
from billing.usage import SpanBorders, SpanUsage, borders_of
from rating_engine.billing_period import BillingPeriod
from rating_engine.period_rater import GroupKey
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.stored_rows import NewCard
from sinks.adjustment_rows import AdjustmentLineRow
from sinks.billing_runs import RawState, RunStore
from sinks.invoice_rows import InvoiceLineRow, InvoiceRow
from sinks.invoice_store import InvoiceStore

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class CustomerDifference:
    """What is to be posted for a customer; no lines where nothing is.

    `is_refused`: the price book charges other than what was billed for the usage that was billed,
    so that the difference would not be one of usage. `events` are by line.
    """

    invoice: InvoiceRow
    period: BillingPeriod
    lines: tuple[AdjustmentLine, ...] = ()
    events: Mapping[LineKey, Sequence[ChangedEvent]] = field(default_factory=dict)
    is_refused: bool = False

    @property
    def customer_id(self) -> str:
        """Whose."""
        return self.invoice.customer_id

    @property
    def total(self) -> int:
        """The sum of the lines (10^-4 of the currency's unit)."""
        return sum(line.amount for line in self.lines)


class Due(NamedTuple):
    """What is asked: bills as of `state`, by the run `run_id`; "" where nothing is posted.

    What the run itself has posted is left out of what was billed, so whoever goes on with it finds
    the same. `is_rerating`: under the prices of now, though others were billed.
    """

    state: RawState
    run_id: str = ""
    is_rerating: bool = False


class LateDifferences:
    """Works differences out, under one price book."""

    def __init__(self, client: Client, book: PriceBook, *, store: InvoiceStore) -> None:
        """Reads through `client`, whose database is the deployment's."""
        self._store = store
        self._runs = RunStore(client)
        self._usage = LateUsage(client)
        self._biller = Biller(client, book)
        self._maker = LineMaker(book.catalog.meters)

    def differences(
        self, periods: Sequence[tuple[str, int]], name: PeriodName, *, due: Due
    ) -> list[CustomerDifference]:
        """Of those with late usage (of all, in a rerating), what is due less what was billed.

        `periods` are invoiced ones that `name` means. Who was adjusted as of a later state is left
        out: this one would take that back. Raises `DependencyDown`.
        """
        found: list[CustomerDifference] = []
        for old, invoices in self._by_last_state(periods, without=due.run_id):
            if old.as_of_us > due.state.as_of_us:
                continue
            wanted = self._borders(invoices, name)
            if due.is_rerating:
                found += self._differences(wanted, name, old=old, due=due)
                found += self._without_prices(invoices, wanted, due=due)
                continue
            touched = self._usage.touched(wanted, old)
            found += self._unpriced(invoices, wanted, old=old)
            if touched:
                few = [each for each in wanted if each.customer_id in touched]
                found += self._differences(few, name, old=old, due=due)
        return found

    def take_new_cards(self) -> list[NewCard]:
        """Rate cards that the lines name and that were not taken before."""
        return self._maker.take_new()

    def _by_last_state(
        self, periods: Sequence[tuple[str, int]], *, without: str
    ) -> list[tuple[RawState, list[InvoiceRow]]]:
        """Invoices by the state of raw history that they were billed by last."""
        invoices = {each.customer_id: each for each in self._store.invoices(periods)}
        newest = {each.customer_id: [each.run_id] for each in invoices.values()}
        for each in self._store.adjustments(periods):  # in order of time
            if each.run_id != without:
                newest[each.customer_id].append(each.run_id)
        runs = self._runs.by_id(sorted({run_id for ids in newest.values() for run_id in ids}))
        found: dict[str, tuple[RawState, list[InvoiceRow]]] = {}
        for customer_id, ids in newest.items():
            last = next((run_id for run_id in reversed(ids) if run_id in runs), "")
            # of an invoice that no run tells of, every event counts as one that came since
            state = runs[last].state if last else RawState((), 0)
            found.setdefault(last, (state, []))[1].append(invoices[customer_id])
        return list(found.values())

    def _borders(self, invoices: Sequence[InvoiceRow], name: PeriodName) -> list[SpanBorders]:
        priced = self._biller.priced([each.customer_id for each in invoices], name)
        return [
            borders_of(customer_id, period, spans=spans)
            for customer_id, (period, spans) in priced.items()
        ]

    def _unpriced(
        self, invoices: Sequence[InvoiceRow], wanted: Sequence[SpanBorders], *, old: RawState
    ) -> list[CustomerDifference]:
        """Late usage of customers whose invoiced period nothing prices any more: refused."""
        known = {each.customer_id for each in wanted}
        whole = {
            each.customer_id: BillingPeriod(each.period_start, each.period_end)
            for each in invoices
            if each.customer_id not in known
        }
        touched = self._usage.touched(
            [
                SpanBorders(customer_id, (period.start * _SECOND_US, period.end * _SECOND_US))
                for customer_id, period in whole.items()
            ],
            old,
        )
        return [
            CustomerDifference(each, whole[each.customer_id], is_refused=True)
            for each in invoices
            if each.customer_id in touched
        ]

    def _without_prices(
        self, invoices: Sequence[InvoiceRow], wanted: Sequence[SpanBorders], *, due: Due
    ) -> list[CustomerDifference]:
        """Of customers whose period nothing prices any more, all that was billed goes back."""
        known = {each.customer_id for each in wanted}
        gone = [each for each in invoices if each.customer_id not in known]
        billed = self._billed(
            [(each.customer_id, each.period_start) for each in gone], without=due.run_id
        )
        return [
            CustomerDifference(
                each,
                BillingPeriod(each.period_start, each.period_end),
                tuple(adjustment_lines(billed[each.customer_id][1], [], touched=())),
            )
            for each in gone
        ]

    def _differences(
        self, wanted: Sequence[SpanBorders], name: PeriodName, *, old: RawState, due: Due
    ) -> list[CustomerDifference]:
        customers = [each.customer_id for each in wanted]
        bills = self._biller.chunk_at(customers, name, state=due.state)
        events: dict[str, list[ChangedEvent]] = {}
        for event in self._usage.between(wanted, old, new=due.state):
            events.setdefault(event.customer_id, []).append(event)
        periods = [(each.customer_id, each.period.start) for each in bills]
        billed = self._billed(periods, without=due.run_id)
        return [
            self._difference(
                each,
                billed=billed[each.customer_id],
                events=events.get(each.customer_id, []),
                is_rerating=due.is_rerating,
            )
            for each in bills
        ]

    def _difference(
        self,
        found: CustomerBill,
        *,
        billed: tuple[InvoiceRow, BilledSoFar],
        events: Sequence[ChangedEvent],
        is_rerating: bool,
    ) -> CustomerDifference:
        invoice, so_far = billed
        nothing = CustomerDifference(invoice, found.period)
        if found.bill.total.currency.code != invoice.currency:
            return replace(nothing, is_refused=True)
        if not is_rerating and not self._is_priced_as_billed(found, so_far):
            return replace(nothing, is_refused=True)
        due = self._maker.lines(found, found.evidence)
        by_line = _by_line(events, {*so_far.lines, *(line.key for line in due)})
        lines = tuple(adjustment_lines(so_far, due, touched=by_line.keys()))
        return replace(nothing, lines=lines, events=by_line)

    def _is_priced_as_billed(self, found: CustomerBill, so_far: BilledSoFar) -> bool:
        usage = billed_usage(so_far, found)
        if usage is None:
            return False
        again = self._maker.lines(self._biller.rebill(found, usage), {})
        return same_money(so_far, due_lines(again))

    def _billed(
        self, periods: Sequence[tuple[str, int]], *, without: str
    ) -> dict[str, tuple[InvoiceRow, BilledSoFar]]:
        issued: dict[str, list[InvoiceLineRow]] = {}
        for line in self._store.lines(periods):
            issued.setdefault(line.customer_id, []).append(line)
        adjusted: dict[str, list[AdjustmentLineRow]] = {}
        for each in self._store.adjustment_lines(periods):
            if each.run_id == without:
                continue
            adjusted.setdefault(each.customer_id, []).append(each)
        return {
            invoice.customer_id: (
                invoice,
                billed_so_far(
                    issued.get(invoice.customer_id, []), adjusted.get(invoice.customer_id, [])
                ),
            )
            for invoice in self._store.invoices(periods)
        }


def billed_usage(billed: BilledSoFar, found: CustomerBill) -> SpanUsage | None:
    """The usage that was billed, as the spans of `found` have it; None where parts differ.

    A part's quantity stands in its first span: for what is rated as one that is the same.
    """
    start = found.period.start
    spans = {start + each.span.start // _SECOND_US: at for at, each in enumerate(found.spans)}
    usage: SpanUsage = {}
    for key, line in billed.lines.items():
        if not key.meter or line == Billed():  # what a rerating took away, parts that were moved
            continue
        at = spans.get(key.part_start)
        if at is None:
            return None
        quantities = usage.setdefault((key.meter, group_key(key.group)), [None] * len(found.spans))
        quantities[at] = line.quantity
    return usage


def _by_line(
    events: Sequence[ChangedEvent], keys: Collection[LineKey]
) -> dict[LineKey, list[ChangedEvent]]:
    """Events by the line that they are in; those that nothing charges are in none."""
    parts: dict[tuple[str, GroupKey], list[LineKey]] = {}
    for key in keys:
        if key.meter:
            parts.setdefault((key.meter, group_key(key.group)), []).append(key)
    found: dict[LineKey, list[ChangedEvent]] = {}
    for event in events:
        second = event.occurred_us // _SECOND_US
        for key in parts.get((event.meter, event.group), ()):
            if key.part_start <= second < key.part_end:
                found.setdefault(key, []).append(event)
    return found
