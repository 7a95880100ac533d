"""How fresh totals are against the objective, and what the steward found in them."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from alerts.dashboards.assembly import Row
from alerts.dashboards.fields import limits, limits_below
from alerts.dashboards.panels import Panel, bounded, graph, number
from alerts.dashboards.queries import promql, promql_now

_HERE = 'deployment=~"$deployment"'
_RATE = "[$__rate_interval]"
_PERCENTILES = ((50, "A"), (95, "B"), (99, "C"))
#: At this rate a thirtieth of the month's error budget is gone in an hour: somebody is woken.
_BURN_BAD = 14.4
_HOUR_S = 3600


def objectives() -> Row:
    """Error budgets and end-to-end delays."""
    return Row("Objectives and delays", [*_budgets(), *_delays()])


def steward() -> Row:
    """What is looked at beside the stream: conservation, rejects that wait, jobs."""
    return Row(
        "What the steward finds",
        [
            bounded(
                graph(
                    "Differences between offsets, raw and totals",
                    "What breaks the law of conservation, by check; 0 is the only good number. "
                    "`meterline verify` names them, `meterline verify --repair` mends totals.",
                    unit="none",
                    queries=[
                        promql(
                            f"sum by (check) (meterline_conservation_differences{{{_HERE}}})",
                            "{{check}}",
                        )
                    ],
                    span=8,
                ),
                warning=1,
                bad=1,
            ),
            graph(
                "Rejected events that wait",
                "Of the last 30 days, not sent again since, by code. Each is usage that nobody is "
                "billed for.",
                unit="short",
                queries=[
                    promql(f"sum by (code) (meterline_rejects_waiting{{{_HERE}}}) > 0", "{{code}}")
                ],
                span=8,
            ),
            bounded(
                graph(
                    "Since a job ended well",
                    "Time since the steward's jobs last ended well. They run every few minutes.",
                    unit="s",
                    queries=[
                        promql(
                            "max by (name) (time() - meterline_steward_job_done_timestamp_seconds"
                            f"{{{_HERE}}})",
                            "{{name}}",
                        )
                    ],
                    span=8,
                ),
                warning=1800,
                bad=3600,
            ),
        ],
    )


def dedup_memory() -> list[Panel]:
    """How full the dedup memory is: by bytes, and by what it is laid out for."""
    return [
        bounded(
            graph(
                "Dedup memory",
                "Memory of Redis as a share of where it refuses writes, and identities as a share "
                "of those that a generation is laid out for. Full, nothing is counted.",
                unit="percentunit",
                queries=[
                    promql(f"meterline:dedup_memory:ratio{{{_HERE}}}", "memory of {{deployment}}"),
                    promql(
                        f"meterline:dedup_plan:ratio{{{_HERE}}}",
                        "identities of {{deployment}}",
                        ref_id="B",
                    ),
                ],
            ),
            warning=0.8,
            bad=0.95,
        ),
        graph(
            "Identities remembered",
            "Identities in the newest generation of the dedup memory, and how many it is laid out "
            "for (METERLINE_DEDUP_EVENTS_MAX).",
            unit="short",
            queries=[
                promql(f"max(meterline_dedup_entries{{{_HERE}}})", "remembered"),
                promql(f"max(meterline_dedup_planned_entries{{{_HERE}}})", "planned", ref_id="B"),
            ],
        ),
    ]


def _budgets() -> list[Panel]:
    burn = (
        f"meterline:slo_errors:ratio%s{{{_HERE}}} "
        "/ on (slo) group_left () meterline:slo_budget:ratio"
    )
    return [
        number(
            "Least error budget left",
            "Of the error budget of 30 days, what is left of the objective that is worst off. "
            "Below 0 it is missed.",
            unit="percentunit",
            query=promql_now(f"min(meterline:slo_budget_left:ratio{{{_HERE}}})", "left"),
            span=6,
        ).thresholds(limits_below(0.5, 0.1)),
        number(
            "Fastest burn in an hour",
            "How many times faster than allowed the error budget goes, over the last hour.",
            unit="none",
            query=promql_now(f"max({burn % '1h'})", "burn"),
            span=6,
        )
        .decimals(1)
        .thresholds(limits(1, _BURN_BAD)),
        number(
            "Queryable after",
            "How long ago the newest event arrived that is in the totals of every partition.",
            unit="s",
            query=promql_now(f"max(meterline:queryable_delay_seconds{{{_HERE}}})", "delay"),
            span=6,
        ).thresholds(limits(10, 60)),
        number(
            "Partitions nobody reads",
            "Partitions of the events topic that no worker holds: what arrives there does not "
            "count.",
            unit="none",
            query=promql_now(f"sum(meterline:unread_partitions:count{{{_HERE}}})", "unread"),
            span=6,
        ).thresholds(limits(bad=1)),
        bounded(
            graph(
                "Burn rate of error budgets",
                "Errors over an hour by what the objective allows: at 1 the budget lasts 30 days, "
                "at 14.4 two. Freshness of events and of time, and correctness.",
                unit="none",
                queries=[promql(burn % "1h", "{{slo}}")],
            ),
            warning=1,
            bad=_BURN_BAD,
        ),
        bounded(
            graph(
                "Queryable after, by partition",
                "How long ago the newest event of a partition arrived that is in the totals. Grows "
                "while nothing arrives only if the partition is not read.",
                unit="s",
                queries=[
                    promql(
                        f"max by (partition) (meterline:queryable_delay_seconds{{{_HERE}}})",
                        "{{partition}}",
                    )
                ],
            ),
            warning=10,
            bad=60,
        ),
    ]


def _delays() -> list[Panel]:
    return [
        bounded(
            _percentiles(
                "From arrival to queryable",
                "From an event's arrival in Kafka until it is durable and in the totals. Estimated "
                "from buckets; the objective is 10 s for 99.9 %.",
                metric="record_delay_seconds",
            ),
            warning=2,
            bad=10,
        ),
        _percentiles(
            "From occurrence to queryable",
            "From the time of the event until it is in the totals: what its producer held back is "
            "in it.",
            metric="event_delay_seconds",
        ),
        _percentiles(
            "Late by",
            "By how much late events came after the allowed lateness; how long a grace period of a "
            "close has to be.",
            metric="late_by_seconds",
        ),
    ]


def _percentiles(title: str, description: str, *, metric: str) -> timeseries.Panel:
    bucket = f"meterline_{metric}_bucket{{{_HERE}}}{_RATE}"
    return graph(
        title,
        description,
        unit="s",
        queries=[
            promql(
                f"histogram_quantile(0.{percent}, sum by (le) (rate({bucket})))",
                f"p{percent}",
                ref_id=ref_id,
            )
            for percent, ref_id in _PERCENTILES
        ],
        span=8,
    )
