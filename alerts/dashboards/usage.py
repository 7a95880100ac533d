"""What is used, by whom, how late and how complete. From ClickHouse, as of now."""

from __future__ import annotations

from alerts.dashboards.assembly import Contents, Row
from alerts.dashboards.fields import (
    COUNT,
    column_limits,
    column_units,
    limits,
    outcome_colors,
    times,
)
from alerts.dashboards.findings import findings
from alerts.dashboards.panels import bars, bounded, columns, graph, listing, number, overridden
from alerts.dashboards.queries import sql_series, sql_table
from alerts.dashboards.variables import (
    clickhouse_source,
    customer,
    database,
    meter,
)

_MINUTE_S = 60


def usage() -> Contents:
    """The dashboard of live usage."""
    return Contents(
        uid="meterline-usage",
        title="Meterline: usage",
        description="Usage by meter and customer, what came late, and which days are complete.",
        range_from="now-7d",
        refresh="1m",
        variables=[clickhouse_source(), database(), meter(), customer()],
        rows=[_now(), _by_meter(), _quantity(), _customers(), findings(), _lateness(), _rejected()],
    )


def _now() -> Row:
    return Row(
        "Now",
        [
            overridden(
                number(
                    "Complete to",
                    "To which moment all totals are complete, and how long ago that is. Later "
                    "hours may still grow. Normal is the allowed lateness and a few seconds.",
                    unit="s",
                    query=sql_table("usage/complete_to"),
                    span=6,
                ).thresholds(limits(10 * _MINUTE_S, 30 * _MINUTE_S)),
                column_units(times("complete to")),
            ),
            number(
                "Counted",
                "Events that were counted in windows of the chosen range, and of how many "
                "customers they are.",
                unit="short",
                query=sql_table("usage/counted"),
                span=6,
            ),
            number(
                "Late",
                "Share of the counted events that arrived after the allowed lateness.",
                unit="percentunit",
                query=sql_table("usage/late"),
            ).thresholds(limits(0.1, 0.3)),
            number(
                "Rejected",
                "Events that arrived in the chosen range and could not be counted, of every "
                "customer and meter: what is malformed names neither.",
                unit="short",
                query=sql_table("usage/rejected"),
            ).thresholds(limits(1, 10_000)),
            number(
                "Without a price",
                "Counted events that nothing charges: the customer has no subscription at that "
                "time, or its plan no price for the meter. Of whole months.",
                unit="short",
                query=sql_table("usage/without_a_price"),
            ).thresholds(limits(1, 100_000)),
        ],
    )


def _by_meter() -> Row:
    return Row(
        "Events",
        [
            columns(
                graph(
                    "Events by meter",
                    "Counted events by the hour in which they occurred, not in which they arrived. "
                    "The newest hour is partial.",
                    unit="short",
                    queries=[sql_series("usage/events_by_meter")],
                )
            ),
            columns(
                graph(
                    "Events of the largest customers",
                    "The ten customers with the most events in the range, and all others together.",
                    unit="short",
                    queries=[sql_series("usage/events_of_the_largest_customers")],
                )
            ),
        ],
    )


def _quantity() -> Row:
    return Row(
        "Quantity of $meter",
        [
            graph(
                "$meter by hour",
                "Quantity by the hour in which it occurred, over the chosen customers, in the "
                "meter's own unit. Of meters that hold a level or count distinct values, the sum "
                "of what each customer had in that hour.",
                unit="short",
                queries=[sql_series("usage/meter_by_hour")],
                span=24,
            ).interval("1h")
        ],
        repeat="meter",
    )


def _customers() -> Row:
    return Row(
        "Customers",
        [
            overridden(
                listing(
                    "Top customers",
                    "By events in the chosen range, each meter on its own line, with the moment "
                    "that the numbers are complete to.",
                    unit=COUNT,
                    query=sql_table("usage/top_customers"),
                    span=12,
                ),
                column_units(times("last event", "complete to")),
            ),
            overridden(
                listing(
                    "Changed most in a day",
                    "Events of the last 24 complete hours beside those of the same hours a week "
                    "before. -100 % has gone silent; without a change, there was nothing then.",
                    unit=COUNT,
                    query=sql_table("usage/changed_most_in_a_day"),
                    span=12,
                ),
                column_units({"change": "percentunit", **times("complete to")}),
            ),
        ],
    )


def _lateness() -> Row:
    return Row(
        "Late usage and completeness",
        [
            columns(
                graph(
                    "Late events by meter",
                    "Counted events that arrived after the allowed lateness, by the hour in which "
                    "they occurred.",
                    unit="short",
                    queries=[sql_series("usage/late_events_by_meter")],
                    span=8,
                )
            ),
            bounded(
                graph(
                    "Late by",
                    "How long after it occurred an accepted event arrived, by the hour of arrival: "
                    "half, 95 % and 99 % of the events were faster. Backfills are left out.",
                    unit="s",
                    queries=[sql_series("usage/late_by")],
                    span=8,
                ).interval("1h"),
                warning=300,
                bad=86_400,
            ),
            overridden(
                bars(
                    "Events by day",
                    "Accepted on time and late by the day in which they occurred; duplicates and "
                    "rejected ones by the day in which they arrived.",
                    unit="short",
                    query=sql_table("usage/events_by_day"),
                    span=8,
                ),
                outcome_colors(),
            ),
            overridden(
                listing(
                    "Completeness by day",
                    "Whether everything that is on time for a day has been counted. A day that is "
                    "complete grows only by late events.",
                    unit=COUNT,
                    query=sql_table("usage/completeness_by_day"),
                ),
                [
                    *column_units(times("complete to")),
                    column_limits("rejected", warning=1, bad=10_000),
                ],
            ),
        ],
    )


def _rejected() -> Row:
    return Row(
        "What was rejected",
        [
            columns(
                graph(
                    "Rejected events by code",
                    "By the hour of arrival. They are kept until they are mended: "
                    "`meterline rejects` lists and sends them again.",
                    unit="short",
                    queries=[sql_series("usage/rejected_events_by_code")],
                )
            ),
            overridden(
                listing(
                    "Why, and an example",
                    "Each code with its number of events and customers in the range, and what the "
                    "newest of them says.",
                    unit=COUNT,
                    query=sql_table("usage/why_and_an_example"),
                    span=12,
                ),
                column_units(times("newest")),
            ),
        ],
    )
