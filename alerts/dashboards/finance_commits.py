"""Where commits stand: who is over, who pays for what is not used."""

from __future__ import annotations

from alerts.dashboards.assembly import Row
from alerts.dashboards.fields import COUNT, MONEY, column_limits, column_units, times
from alerts.dashboards.panels import Panel, bars, listing, number, overridden
from alerts.dashboards.queries import sql_table

_TIMES = times("complete to")
_UNITS = {**_TIMES, "% of commit": "percent", "% at the end": "percent"}
_AMOUNTS = ("commit", "used", "overage", "buffer")


def commits() -> Row:
    """Commits of the period, and overage against buffer over the last periods."""
    return Row("Commits", [*_numbers(), *_tables()])


def _numbers() -> list[Panel]:
    return [
        overridden(
            number(
                "Over commit",
                "Commits of plans and buckets that are used up in the period, those that will "
                "be if usage goes on, and all there are.",
                unit="none",
                query=sql_table("finance/over_commit"),
                span=8,
            ),
            column_units(_TIMES),
        ),
        overridden(
            number(
                "Overage (${currency})",
                "What is charged beyond commits in the period so far.",
                unit=MONEY,
                query=sql_table("finance/overage"),
                span=8,
            ).decimals(2),
            column_units(_TIMES),
        ),
        overridden(
            number(
                "Buffer (${currency})",
                "What is promised and not used in the period so far; at its end, it is paid "
                "for all the same.",
                unit=MONEY,
                query=sql_table("finance/buffer"),
                span=8,
            ).decimals(2),
            column_units(_TIMES),
        ),
    ]


def _tables() -> list[Panel]:
    return [
        overridden(
            listing(
                "Commits by use (${currency})",
                "Percent of money for the commit of a plan, of units for a bucket. At the end: "
                "if usage goes on as it did.",
                unit=COUNT,
                query=sql_table("finance/commits_by_use"),
            ),
            [
                *column_units(_UNITS, money=_AMOUNTS),
                column_limits("% of commit", warning=80, bad=100),
                column_limits("% at the end", warning=80, bad=100),
            ],
        ),
        bars(
            "Overage and buffer by period (${currency})",
            "Overage is charged beyond commits; buffer is paid for and not used. Over the last "
            "12 periods, by the month in which they begin.",
            unit=MONEY,
            query=sql_table("finance/overage_and_buffer_by_period"),
            span=8,
        ),
        overridden(
            listing(
                "Commits to make smaller (${currency})",
                "Customers that pay for what they do not use, by money. Worth a word before "
                "they find out by themselves; final once the period is over.",
                unit=COUNT,
                query=sql_table("finance/commits_to_make_smaller"),
                span=16,
            ),
            column_units({**_TIMES, "unused": "percentunit"}, money=["commit", "buffer"]),
        ),
    ]
