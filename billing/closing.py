"""Closing a billing period: invoices from raw history up to a cut, each issued once.

    1  gate    usage up to the period's end, and a grace beyond, is all there (who calls asks that)
    2  run     cut, catalog and customers are stored, before anything else is
    3  chunk   lines from raw history, checked against totals; then written, and made visible
    4  end     the run is finished

An interrupted run goes on with the cut, the catalog and the customers that it began with.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from billing.bills import Biller, CustomerBill, chunks, customers_of
from billing.holds import Holds
from billing.invoice_lines import LineMaker
from billing.invoices import Issue, invoice_of
from billing.period_name import PeriodName
from billing.totals_check import TotalsCheck, Wrong
from metering.errors import TransientError
from rating_engine.money import Money
from rating_engine.price_book.book import PriceBook
from rating_engine.price_book.stored_rows import BilledPeriod, card_columns, period_columns
from sinks.billing_runs import BillingRun, RunKind, RunState, RunStore
from sinks.invoice_store import InvoiceStore
from sinks.rating_tables import card_table, period_table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How often to begin where others begin at the same time.
_BEGIN_MAX = 5
#: Hears how many customers of how many are done.
Say = Callable[[int, int], None]


class Asked(NamedTuple):
    """What a person asks for, and who: kept with the run."""

    name: PeriodName
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """Who is to be invoiced: `open` has no invoice, the period ended, and nobody holds it.

    `held` are those whose invoice a correction or a review holds back. `until_s` (Unix seconds) is
    when the last of their periods ends; `ends_s` when the next of those that still run does.
    """

    open: tuple[str, ...]
    issued: int
    running: int
    until_s: int
    ends_s: int
    held: tuple[str, ...] = ()


@dataclass(slots=True)
class Closed:
    """What came of a close. `wrong` customers have no invoice: their totals are not right.

    `held` are those whom somebody held back after the run had begun.
    """

    invoices: int = 0
    lines: int = 0
    totals: dict[str, Money] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    resumed: list[BillingRun] = field(default_factory=list)
    abandoned: list[BillingRun] = field(default_factory=list)
    run: BillingRun | None = None


def new_run(
    runs: RunStore, asked: Asked, *, kind: RunKind, catalog: str, customers: int, now_us: int
) -> BillingRun:
    """A run with the cut of this moment, not stored yet. Raises `DependencyDown`."""
    complete_to_ms = runs.complete_to_ms()  # before the cut, so that the cut holds all up to it
    return BillingRun(
        f"{kind}-{asked.name.text}-{now_us:x}", kind, asked.name.text, catalog,
        runs.raw_state(now_us), complete_to_ms, customers, asked.actor, asked.reason,
    )  # fmt: skip


class Closing:
    """Closes billing periods under one price book."""

    def __init__(
        self, client: Client, book: PriceBook, *, store: InvoiceStore, now: Callable[[], int]
    ) -> None:
        """`now` tells Unix microseconds UTC."""
        self._book = book
        self._store = store
        self._now = now
        self._runs = RunStore(client, store.before_step)
        self._biller = Biller(client, book)
        self._maker = LineMaker(book.catalog.meters)
        self._check = TotalsCheck(client, book)
        self._holds = Holds(client, book, store=store)
        self.closed = Closed()

    def due(self, name: PeriodName, customers: Iterable[str] | None = None) -> Due:
        """Who is to be invoiced; of all subscribed customers, or of those that are named."""
        now_s = self._now() // 1_000_000
        waiting: list[str] = []
        held: list[str] = []
        issued = running = until_s = ends_s = 0
        for chunk in chunks(customers_of(self._book) if customers is None else customers):
            known, priced = self._store.invoiced(chunk), self._biller.priced(chunk, name)
            held_now = self._holds.of(priced)
            for customer_id, (period, _) in priced.items():
                if period.start in known.get(customer_id, ()):
                    issued += 1
                elif period.end > now_s:
                    running += 1
                    ends_s = min(ends_s or period.end, period.end)
                elif customer_id in held_now:
                    held.append(customer_id)
                else:
                    waiting.append(customer_id)
                    until_s = max(until_s, period.end)
        return Due(tuple(waiting), issued, running, until_s, ends_s, tuple(held))

    def resume(self, say: Say) -> None:
        """Complete what was interrupted, with its own cut.

        Where the catalog is another one now, its invoices would not be of one price book: what was
        issued stands, the rest is left to a new run.
        """
        for run in self._runs.under_way(RunKind.CLOSE):
            if run.catalog == self._book.content_hash:
                self.closed.resumed.append(run)
                self._go_on(run, say)
            else:
                self._runs.end(run, RunState.ABANDONED, now_us=self._now())
                self.closed.abandoned.append(run)

    def close(self, due: Due, asked: Asked, *, say: Say) -> Closed:
        """Take a cut and issue the invoices of who is `due`. Raises `DependencyDown`."""
        if not due.open:
            return self.closed
        for _ in range(_BEGIN_MAX):
            run = new_run(
                self._runs, asked, kind=RunKind.CLOSE, catalog=self._book.content_hash,
                customers=len(due.open), now_us=self._now(),
            )  # fmt: skip
            if self._runs.begin(run, due.open).run_id == run.run_id:
                self.closed.run = run
                self._go_on(run, say)
                return self.closed
            self.resume(say)  # another call came first
        msg = "other calls keep beginning before this one; run one at a time"
        raise TransientError(msg)

    def _go_on(self, run: BillingRun, say: Say) -> None:
        customers = self._runs.customers(run)
        name = PeriodName.read(run.period)
        done = 0
        say(done, len(customers))
        for chunk in chunks(customers):
            if not self._runs.is_under_way(run):  # another call completed or abandoned it
                return
            self._chunk(chunk, name, run=run)
            done += len(chunk)
            say(done, len(customers))
        self._runs.end(run, RunState.FINISHED, now_us=self._now())

    def _chunk(self, customers: Sequence[str], name: PeriodName, *, run: BillingRun) -> None:
        known, priced = self._store.invoiced(customers), self._biller.priced(customers, name)
        held_now = self._holds.of(priced)
        waiting: list[str] = []
        for customer_id, (period, _) in priced.items():
            if period.start in known.get(customer_id, ()):
                continue
            if customer_id in held_now:  # since the run began
                self.closed.held.append(customer_id)
            else:
                waiting.append(customer_id)
        if not waiting:
            return
        bills = self._biller.chunk_at(waiting, name, state=run.state)
        wrong = self._check.wrong(bills, run.state)
        self.closed.wrong += wrong
        refused = {each.customer_id for each in wrong}
        sound = [each for each in bills if each.customer_id not in refused]
        issue = Issue(run, issued_at_us=self._now())
        found = [
            invoice_of(each, self._maker.lines(each, each.evidence), issue=issue) for each in sound
        ]
        self._store.issue(
            [invoice for invoice, _ in found],
            [line for _, lines in found for line in lines],
            cards=card_table(card_columns(self._maker.take_new())),
            periods=period_table(
                period_columns(self._unknown(sound)), updated_at=_moment(issue.issued_at_us)
            ),
        )
        self._add_up(sound)

    def _unknown(self, bills: Sequence[CustomerBill]) -> list[BilledPeriod]:
        """Periods that the stream has not stored: of customers who used nothing."""
        known = self._store.known_periods([(each.customer_id, each.period.start) for each in bills])
        return [
            BilledPeriod(each.customer_id, each.period, each.spans, each.subscription)
            for each in bills
            if (each.customer_id, each.period.start) not in known
        ]

    def _add_up(self, bills: Sequence[CustomerBill]) -> None:
        closed = self.closed
        for each in bills:
            total = each.bill.total
            code = total.currency.code
            closed.totals[code] = closed.totals.get(code, Money(total.currency, 0)) + total
            closed.invoices += 1
            closed.lines += len(each.bill.lines)


def _moment(moment_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment_us)
