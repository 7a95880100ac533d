"""Late usage of invoiced periods: what is due less what was billed, as adjustments.

    1  resume  a run that was interrupted goes on with its own cut
    2  look    who has an invoice, and usage that came or was taken back since it was billed
    3  run     a new cut and those customers are stored, before anything else is
    4  chunk   lines and the events behind them; then written, and made visible
    5  end     the run is finished

Without anything new there is no run. Billed so far is the invoice with all its adjustments, so
whatever happened before, the sum after a run is the bill at its cut, to the cent.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from billing.adjustment_check import LATE_USAGE
from billing.adjustment_posting import AdjustmentPosting, chunks_of
from billing.adjustment_rows import Posting, posted
from billing.closing import Asked, Say, new_run
from billing.issued import issued_periods
from billing.late_differences import CustomerDifference, Due
from billing.period_name import PeriodName
from metering.errors import TransientError
from sinks.adjustment_rows import AdjustmentRow
from sinks.billing_runs import BillingRun, RunKind, RunState

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


class Adjusting(AdjustmentPosting):
    """Adjusts invoiced periods under one price book."""

    @cached_property
    def adjusted(self) -> Adjusted:
        """What came of it so far."""
        return Adjusted()

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
        self._remember_refused(found)
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
        self._remember_refused(differences)
        differing = [each for each in differences if each.lines and not each.is_refused]
        found = [
            posted(each, Posting(run, LATE_USAGE, posted_to, self._now()))
            for each, posted_to in zip(differing, self._open_periods(differing), strict=True)
        ]
        self._post(found)
        for row, lines, events in found:
            self.adjusted.adjustments.append(row)
            self.adjusted.lines += len(lines)
            self.adjusted.events += len(events)

    def _remember_refused(self, found: Iterable[CustomerDifference]) -> None:
        refused = {each.customer_id for each in found if each.is_refused}
        self.adjusted.refused += sorted(refused.difference(self.adjusted.refused))
