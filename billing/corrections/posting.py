"""What corrections post: adjustments of kind rerating and credit, as those of late usage are."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from billing.adjusting import AdjustmentLine, Billed, Prices
from billing.adjustment_check import RERATING
from billing.adjustment_posting import AdjustmentPosting, chunks_of
from billing.adjustment_rows import Posting, posted
from billing.corrections.billed import amount_of
from billing.corrections.policy import NotAllowed
from billing.invoice_lines import CALCULATION_VERSION, LineKey
from billing.issued import issued_periods
from billing.late_differences import CustomerDifference, Due
from billing.period_name import PeriodName
from billing.usage import Evidence
from metering.correction import Correction
from rating_engine.billing_period import BillingPeriod
from rating_engine.money import Money, Rounding
from sinks.adjustment_rows import AdjustmentRow
from sinks.billing_runs import BillingRun, RawState, RunKind, RunState
from sinks.invoice_rows import InvoiceRow

CREDIT = "credit"


class CorrectionPosting(AdjustmentPosting):
    """Posts them, under one price book. Every call may raise `DependencyDown`."""

    def rerate(self, found: Correction, customers: Collection[str], *, name: PeriodName) -> int:
        """Post what the prices of now make of invoiced periods, as of a new cut; how many.

        Each attempt is a run of its own: one that was interrupted is given up, and whom it reached
        is passed over. Raises `NotAllowed` where the currency changed.
        """
        run = self._runs.begin_attempt(
            BillingRun(
                found.correction_id, RunKind.RERATING, name.text, self._book.content_hash,
                self._runs.raw_state(self._now()), self._runs.complete_to_ms(), len(customers),
                found.author, reason_text(found),
            )
        )  # fmt: skip
        done = 0
        periods = issued_periods(self._client, name, book=self._book, customers=customers)
        for chunk in chunks_of(periods):
            done += self._rerate(chunk, name, run=run, correction_id=found.correction_id)
        self._runs.end(run, RunState.FINISHED, now_us=self._now())
        return done

    def _rerate(
        self, periods: Sequence[tuple[str, int]], name: PeriodName, *,
        run: BillingRun, correction_id: str,
    ) -> int:  # fmt: skip
        before = self._store.adjustments(periods)
        reached = {each.customer_id for each in before if _is_of(each, correction_id)}
        waiting = [each for each in periods if each[0] not in reached]
        versions: dict[str, int] = {}
        for row in before:
            versions[row.customer_id] = max(
                versions.get(row.customer_id, 0), row.calculation_version
            )
        found = self._late.differences(
            waiting, name, due=Due(run.state, run.run_id, is_rerating=True)
        )
        for each in found:
            if each.is_refused:
                msg = (
                    f"{each.customer_id}: expected charges in {each.invoice.currency}, as they "
                    "were; credit the one and charge the other by hand"
                )
                raise NotAllowed(msg)
        differing = [each for each in found if each.lines]
        rows = []
        for each, opened in zip(differing, self._open_periods(differing), strict=True):
            newest = max(each.invoice.calculation_version, versions.get(each.customer_id, 0))
            rows.append(posted(each, Posting(run, RERATING, opened, self._now(), newest + 1)))
        self._post(rows)
        return len(rows)

    def credit(
        self, found: Correction, period: BillingPeriod, *, posted_to: int, amount: Money
    ) -> None:
        """Post one line, signed as it was asked for; again is the same."""
        whole = amount_of(amount)
        line = AdjustmentLine(
            LineKey(CREDIT, "", "", period.start, period.end),
            Billed(),
            Billed(exact=whole * _EXACT_PER_AMOUNT, amount=whole),
            Prices(amount.currency.code, "", 0, 0),
            Evidence(),
        )
        run = BillingRun(
            found.correction_id, CREDIT, found.period, self._book.content_hash, RawState((), 0), 0,
            1, found.author, reason_text(found),
        )  # fmt: skip
        nothing = InvoiceRow(
            found.customer_id, period.start, period.end, "", "", "", "", amount.currency.code,
            amount.currency.minor_digits, Rounding.HALF_EVEN, 0, 0, "", CALCULATION_VERSION, "", 0,
        )  # fmt: skip
        row, lines, _ = posted(
            replace(CustomerDifference(nothing, period), lines=(line,)),
            Posting(run, CREDIT, posted_to, self._now()),
        )
        self._store.adjust([row], lines, events=[], cards=None)


#: 10^-24 of the currency's unit in 10^-4 of it.
_EXACT_PER_AMOUNT = 10**20


def reason_text(found: Correction) -> str:
    """Why, as adjustments tell it."""
    return f"{found.reason_code}: {found.note}" if found.note else str(found.reason_code)


def _is_of(row: AdjustmentRow, correction_id: str) -> bool:
    return row.run_id == correction_id or row.run_id.startswith(f"{correction_id}.")
