"""What detection found in usage: spikes, drops, silence, and thresholds that were crossed."""

from __future__ import annotations

from alerts.dashboards.assembly import Row
from alerts.dashboards.fields import COUNT, column_units, limits, times
from alerts.dashboards.panels import columns, graph, listing, number, overridden
from alerts.dashboards.queries import sql_series, sql_table


def findings() -> Row:
    """Findings that are open, and how many were opened when."""
    return Row(
        "Findings",
        [
            number(
                "Open findings",
                "Spikes, drops, silence and crossed thresholds that were opened and are not "
                "resolved, of the chosen customers and meters, and of how many customers.",
                unit="none",
                query=sql_table("usage/open_findings"),
                span=8,
            ).thresholds(limits(1, 100)),
            columns(
                graph(
                    "Findings opened",
                    "By kind and the hour in which they were recorded.",
                    unit="short",
                    queries=[sql_series("usage/findings_opened")],
                    span=16,
                )
            ),
            overridden(
                listing(
                    "What was found",
                    "The newest first, each with its state, what was observed beside what was "
                    "expected, and the moment that the usage was complete to.",
                    unit=COUNT,
                    query=sql_table("usage/what_was_found"),
                ),
                column_units(times("window", "recorded", "complete to")),
            ),
        ],
    )
