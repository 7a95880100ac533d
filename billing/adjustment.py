"""Late usage of invoiced periods: what is due less what was billed, as adjustments.

    1  resume  a run that was interrupted goes on with its own cut
    2  look    who has an invoice, and usage that came or was taken back since it was billed
    3  run     a new cut and those customers are stored, before anything else is
    4  chunk   lines and the events behind them; then written, and made visible
    5  end     the run is finished

Without anything new there is no run. Billed so far is the invoice with all its adjustments, so
whatever happened before, the sum after a run is the bill at its cut, to the cent.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from clickhouse_connect.driver.client import Client

from billing.adjustment_check import LATE_USAGE
from billing.adjustment_rows import Posting, posted
from billing.closing import Asked, Say, new_run
from billing.issued import issued_periods
from billing.late_differences import CustomerDifference, Due, LateDifferences
from billing.period_name import PeriodName
from metering.errors import TransientError
from rating_engine.billing_period import BillingCalendar
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.stored_rows import card_columns
from sinks.adjustment_rows import AdjustmentEventRow, AdjustmentLineRow, AdjustmentRow
from sinks.billing_runs import BillingRun, RunKind, RunState, RunStore
from sinks.invoice_store import InvoiceStore
from sinks.rating_tables import card_table

#: Customers at a time: their late events are held in memory.
_CHUNK_CUSTOMERS = 250
_SECOND_US = 1_000_000
_BEGIN_MAX = 5


@dataclass(slots=True)
class Adjusted:
    """What came of it. `refused` customers have other prices now than they were billed by."""

    looked_at: int = 0
    adjustments: list[AdjustmentRow] = field(default_factory=list)
    lines: int = 0
    events: int = 0
    refused: list[str] = field(default_factory=list)
    resumed: list[BillingRun] = field(default_factory=list)
    abandoned: list[BillingRun] = field(default_factory=list)
    run: BillingRun | None = None


class Adjusting:
    """Adjusts invoiced periods under one price book."""

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
        self.adjusted = Adjusted()

    def run(self, asked: Asked, customers: Collection[str] = (), *, say: Say) -> Adjusted:
        """All of it, for all invoiced customers or those that are named."""
        self.resume(say)
        waiting = [each.customer_id for each in self.look(asked, customers)]
        return self.adjust(asked, waiting, say=say)

    def resume(self, say: Say) -> None:
        """Complete what was interrupted; under another catalog what it posted stands alone."""
        for run in self._runs.under_way(RunKind.ADJUST):
            if run.catalog == self._book.content_hash:
                self.adjusted.resumed.append(run)
                self._go_on(run, say)
            else:
                self._runs.end(run, RunState.ABANDONED, now_us=self._now())
                self.adjusted.abandoned.append(run)

    def look(self, asked: Asked, customers: Collection[str] = ()) -> list[CustomerDifference]:
        """What would be posted now, of all invoiced customers or of those that are named."""
        state = self._runs.raw_state(self._now())
        found: list[CustomerDifference] = []
        periods = issued_periods(self._client, asked.name, book=self._book, customers=customers)
        self.adjusted.looked_at += len(periods)
        for chunk in chunks_of(periods):
            found += self._late.differences(chunk, asked.name, due=Due(state))
        refused = {each.customer_id for each in found if each.is_refused}
        self.adjusted.refused += sorted(refused.difference(self.adjusted.refused))
        return [each for each in found if each.lines]

    def adjust(self, asked: Asked, customers: Iterable[str], *, say: Say) -> Adjusted:
        """Take a new cut and post what differs for `customers`. Raises `DependencyDown`."""
        chosen = sorted(set(customers))
        if not chosen:
            return self.adjusted
        for _ in range(_BEGIN_MAX):
            run = new_run(
                self._runs, asked, kind=RunKind.ADJUST, catalog=self._book.content_hash,
                customers=len(chosen), now_us=self._now(),
            )  # fmt: skip
            if self._runs.begin(run, chosen).run_id == run.run_id:
                self.adjusted.run = run
                self._go_on(run, say)
                return self.adjusted
            self.resume(say)  # another call came first
        msg = "other calls keep beginning before this one; run one at a time"
        raise TransientError(msg)

    def _go_on(self, run: BillingRun, say: Say) -> None:
        name = PeriodName.read(run.period)
        customers = self._runs.customers(run)
        periods = issued_periods(self._client, name, book=self._book, customers=customers)
        say(0, len(periods))
        done = 0
        for chunk in chunks_of(periods):
            if not self._runs.is_under_way(run):  # another call completed or abandoned it
                return
            self._chunk(chunk, name, run=run)
            done += len(chunk)
            say(done, len(periods))
        self._runs.end(run, RunState.FINISHED, now_us=self._now())

    def _chunk(
        self, periods: Sequence[tuple[str, int]], name: PeriodName, *, run: BillingRun
    ) -> None:
        posted_before = {
            each.customer_id
            for each in self._store.adjustments(periods)
            if each.run_id == run.run_id
        }
        waiting = [each for each in periods if each[0] not in posted_before]
        differences = self._late.differences(waiting, name, due=Due(run.state, run.run_id))
        invoiced = self._store.invoiced([each.customer_id for each in differences])
        rows: list[AdjustmentRow] = []
        lines: list[AdjustmentLineRow] = []
        events: list[AdjustmentEventRow] = []
        for each in differences:
            if each.is_refused:
                if each.customer_id not in self.adjusted.refused:
                    self.adjusted.refused.append(each.customer_id)
                continue
            if not each.lines:
                continue
            posted_to = open_period(each, invoiced.get(each.customer_id, ()), book=self._book)
            posting = Posting(run, LATE_USAGE, posted_to, self._now())
            row, own_lines, own_events = posted(each, posting)
            rows.append(row)
            lines += own_lines
            events += own_events
        if rows:
            cards = card_table(card_columns(self._late.take_new_cards()))
            self._store.adjust(rows, lines, events=events, cards=cards)
        self.adjusted.adjustments += rows
        self.adjusted.lines += len(lines)
        self.adjusted.events += len(events)


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
