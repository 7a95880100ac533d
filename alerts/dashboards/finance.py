"""What is charged, promised, invoiced and adjusted, each with the moment it is complete to."""

from __future__ import annotations

from alerts.dashboards.assembly import Contents, Row
from alerts.dashboards.fields import COUNT, MONEY, column_units, limits, times
from alerts.dashboards.finance_commits import commits
from alerts.dashboards.finance_invoices import adjustments, invoices
from alerts.dashboards.finance_reconciliation import reconciliation
from alerts.dashboards.panels import bars, listing, number, overridden
from alerts.dashboards.queries import sql_table
from alerts.dashboards.variables import (
    clickhouse_source,
    currency,
    customer,
    database,
    meter,
    period,
)

_TIMES = times("complete to")


def finance() -> Contents:
    """The dashboard of charges and invoices."""
    return Contents(
        uid="meterline-finance",
        title="Meterline: finance",
        description=(
            "Charges so far, commits, invoices and adjustments of one currency and period. Every "
            "number stands beside the moment that it is complete to. Exact in ClickHouse; drawn "
            "here with 15 digits."
        ),
        range_from="now-30d",
        refresh="5m",
        variables=[clickhouse_source(), database(), currency(), period(), customer(), meter()],
        rows=[
            _period(),
            _charges(),
            commits(),
            _unpriced(),
            invoices(),
            adjustments(),
            reconciliation(),
        ],
    )


def _period() -> Row:
    return Row(
        "Period ${period}, amounts in ${currency}",
        [
            overridden(
                number(
                    "Usage charged so far",
                    "Charges of usage in the period, each line rounded as on its invoice, without "
                    "base fees and true-ups; and the moment to which they are complete.",
                    unit=MONEY,
                    query=sql_table("finance/usage_charged_so_far"),
                    span=6,
                ).decimals(2),
                column_units(_TIMES),
            ),
            overridden(
                number(
                    "Usage charges at the end of the period",
                    "If usage goes on as it did until now: charges so far in proportion to the "
                    "time that passed; levels stay. Tiers and allowances that lie ahead are not "
                    "foreseen.",
                    unit=MONEY,
                    query=sql_table("finance/usage_charges_at_the_end_of_the_period"),
                    span=6,
                ).decimals(2),
                column_units(_TIMES),
            ),
            overridden(
                number(
                    "Base fees",
                    "Base fees of the plans of all billing periods of this name; due whether or "
                    "not anything is used.",
                    unit=MONEY,
                    query=sql_table("finance/base_fees"),
                    span=6,
                ).decimals(2),
                column_units(_TIMES),
            ),
            overridden(
                number(
                    "Customers charged",
                    "Customers with usage charges in the period, and what they are charged on "
                    "average.",
                    unit="short",
                    query=sql_table("finance/customers_charged"),
                    span=6,
                ),
                column_units(_TIMES, money=["average"]),
            ),
        ],
    )


def _charges() -> Row:
    return Row(
        "Charges",
        [
            bars(
                "Charged by meter (${currency})",
                "Charges of usage in the period so far, by meter; complete to the moment above.",
                unit=MONEY,
                query=sql_table("finance/charged_by_meter"),
                span=8,
            ),
            bars(
                "Charged by period (${currency})",
                "Charges of usage by billing period, by the month in which it begins, over the "
                "last 12. The newest is still open.",
                unit=MONEY,
                query=sql_table("finance/charged_by_period"),
                span=8,
            ),
            bars(
                "Charged by plan (${currency})",
                "Charges of usage in the period so far, by plan and price version.",
                unit=MONEY,
                query=sql_table("finance/charged_by_plan"),
                span=8,
            ),
            overridden(
                listing(
                    "Top customers (${currency})",
                    "What each is charged for usage so far, its share of all, and where it ends up "
                    "if usage goes on as it did.",
                    unit=COUNT,
                    query=sql_table("finance/top_customers"),
                    span=12,
                ),
                column_units({**_TIMES, "share": "percentunit"}, money=["charged", "projected"]),
            ),
            overridden(
                listing(
                    "Lines (${currency})",
                    "Every line of the invoice to be: quantity, what is included, overage, and the "
                    "rounded amount. `meterline explain` shows how one came about.",
                    unit=COUNT,
                    query=sql_table("finance/lines"),
                    span=12,
                ),
                column_units(_TIMES, money=["amount"]),
            ),
        ],
    )


def _unpriced() -> Row:
    return Row(
        "What is not charged",
        [
            overridden(
                listing(
                    "Usage without a price",
                    "Counted usage that nothing charges, by month of occurrence, of every period: "
                    "a subscription or a price is missing.",
                    unit=COUNT,
                    query=sql_table("finance/usage_without_a_price"),
                    span=12,
                ),
                column_units(times("last event", "complete to")),
            ),
            overridden(
                listing(
                    "Unbound subjects",
                    "Events whose subject belongs to no customer, by what they name: bind it in "
                    "the catalog, then `meterline rejects replay` counts them.",
                    unit=COUNT,
                    query=sql_table("finance/unbound_subjects"),
                    span=12,
                ).thresholds(limits()),
                column_units(times("first", "last")),
            ),
        ],
    )
