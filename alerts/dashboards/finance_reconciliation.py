"""What reconciliation found between usage, invoices and the books of others."""

from __future__ import annotations

from alerts.dashboards.assembly import Row
from alerts.dashboards.fields import COUNT, MONEY, column_units, times
from alerts.dashboards.panels import bars, listing, overridden
from alerts.dashboards.queries import sql_table


def reconciliation() -> Row:
    """The newest run of the period, its variance by class, and what people have to look at."""
    return Row(
        "Reconciliation",
        [
            bars(
                "Variance by class (${currency})",
                "Of the newest run of the period: later book less the earlier one, by class of "
                "the finding. Classes add up to the whole difference.",
                unit=MONEY,
                query=sql_table("finance/variance_by_class"),
                span=10,
            ),
            overridden(
                listing(
                    "Runs of the reconciler",
                    "Each with its checks, findings and exit code (0: nothing beyond tolerance), "
                    "and to which moment what it compared was complete.",
                    unit=COUNT,
                    query=sql_table("finance/runs_of_the_reconciler"),
                    span=14,
                ),
                column_units(times("finished", "complete to")),
            ),
            overridden(
                listing(
                    "Findings beyond tolerance (${currency})",
                    "Of the newest run of the period, by amount: which check, which class, whose, "
                    "and why; complete to when the run read the books.",
                    unit=COUNT,
                    query=sql_table("finance/findings_beyond_tolerance"),
                ),
                column_units(times("complete to"), money=["amount", "expected", "got"]),
            ),
            overridden(
                listing(
                    "To review (${currency})",
                    "Review records of the period as they stand: status, impact on the invoice, "
                    "and whether it is held; complete to when the record was written.",
                    unit=COUNT,
                    query=sql_table("finance/to_review"),
                ),
                column_units(times("complete to"), money=["impact"]),
            ),
        ],
    )
