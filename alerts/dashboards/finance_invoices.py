"""Invoices as they were issued, and what was adjusted since."""

from __future__ import annotations

from alerts.dashboards.assembly import Row
from alerts.dashboards.fields import COUNT, MONEY, column_units, times
from alerts.dashboards.panels import bars, listing, number, overridden
from alerts.dashboards.queries import sql_table


def invoices() -> Row:
    """Invoices of the period, and of the last periods."""
    return Row(
        "Invoices",
        [
            overridden(
                number(
                    "Invoiced (${currency})",
                    "The sum and number of invoices issued for the period, and the moment that "
                    "usage was complete to when they were.",
                    unit=MONEY,
                    query=sql_table("finance/invoiced"),
                    span=8,
                )
                .decimals(2)
                .height(8),
                column_units(times("complete to"), whole=["invoices"]),
            ),
            bars(
                "Invoiced by period (${currency})",
                "Totals of issued invoices by billing period, by the month in which it begins, "
                "with adjustments that were made to them since.",
                unit=MONEY,
                query=sql_table("finance/invoiced_by_period"),
                span=16,
            ),
            overridden(
                listing(
                    "Invoices of the period (${currency})",
                    "Issued once and never changed; what came later is an adjustment. Complete to: "
                    "of the run that issued it.",
                    unit=COUNT,
                    query=sql_table("finance/invoices_of_the_period"),
                ),
                column_units(times("period from", "issued", "complete to"), money=["total"]),
            ),
        ],
    )


def adjustments() -> Row:
    """What changed after invoices were issued, and the runs that closed and adjusted."""
    return Row(
        "Adjustments and runs",
        [
            overridden(
                listing(
                    "Adjustments of the period (${currency})",
                    "Late usage, reratings and credits after the invoice: signed, with who did it "
                    "and why, and the period they are charged in.",
                    unit=COUNT,
                    query=sql_table("finance/adjustments_of_the_period"),
                ),
                column_units(times("posted to", "issued", "complete to"), money=["total"]),
            ),
            overridden(
                listing(
                    "Closes and adjustment runs",
                    "The newest state of each run. One that is started and not finished for long "
                    "was interrupted: run it again, and it goes on.",
                    unit=COUNT,
                    query=sql_table("finance/closes_and_adjustment_runs"),
                ),
                column_units(times("issued", "complete to")),
            ),
        ],
    )
