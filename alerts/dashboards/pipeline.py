"""Is the stream counting, and how fast: what its operators look at first. From Prometheus."""

from __future__ import annotations

from alerts.dashboards.assembly import Contents, Row
from alerts.dashboards.fields import limits, limits_below, outcome_colors
from alerts.dashboards.objectives import dedup_memory, objectives, steward
from alerts.dashboards.panels import (
    Panel,
    bounded,
    graph,
    number,
    overridden,
    shares,
    stacked,
    timeline,
)
from alerts.dashboards.queries import promql, promql_now
from alerts.dashboards.variables import deployment, prometheus_source

_HERE = 'deployment=~"$deployment"'
#: A gauge of a partition may stand at two workers, so the greatest of them is the newest.
_WATERMARKS = f"max by (deployment, partition) (meterline_watermark_timestamp_seconds{{{_HERE}}})"
_LAGS = f"max by (deployment, partition) (meterline_lag_messages{{{_HERE}}})"
_MINUTE_S = 60


def pipeline() -> Contents:
    """The dashboard of the live path."""
    return Contents(
        uid="meterline-pipeline",
        title="Meterline: pipeline",
        description="Whether usage is counted, how far behind, and what is in the way.",
        range_from="now-3h",
        refresh="10s",
        variables=[prometheus_source(), deployment()],
        rows=[
            _now(),
            objectives(),
            _throughput(),
            _freshness(),
            _flushes(),
            _state(),
            steward(),
        ],
    )


def _now() -> Row:
    return Row(
        "Now",
        [
            number(
                "Behind the clock",
                "How long ago the moment is to which every partition is complete. Normal is the "
                "allowed lateness (5 minutes) and a few seconds.",
                unit="s",
                query=promql_now(f"time() - min({_WATERMARKS})", "behind"),
            ).thresholds(limits(10 * _MINUTE_S, 30 * _MINUTE_S)),
            number(
                "Lag",
                "Messages in the log that no worker has read yet, over all partitions.",
                unit="short",
                query=promql_now(f"sum({_LAGS})", "lag"),
            ).thresholds(limits(100_000, 1_000_000)),
            number(
                "Events",
                "Events of every outcome per second, over the last minutes.",
                unit="eps",
                query=promql_now(
                    f"sum(rate(meterline_events_total{{{_HERE}}}[$__rate_interval]))", "events"
                ),
            ),
            number(
                "Partitions held",
                "Partitions of the events topic that some worker holds. One that nobody holds is "
                "not counted: it shows as lag only once it is held again.",
                unit="none",
                query=promql_now(f"sum(meterline_assigned_partitions{{{_HERE}}})", "held"),
            ).thresholds(limits_below(1, 1)),
            number(
                "Servers down",
                "Connections of workers to Kafka, Redis or ClickHouse that do not answer.",
                unit="none",
                query=promql_now(
                    f"count(meterline_dependency_up{{{_HERE}}} == 0) or vector(0)", "down"
                ),
            ).thresholds(limits(bad=1)),
            number(
                "Restarts in an hour",
                "Times that a flow was started anew after an error that passes.",
                unit="none",
                query=promql_now(
                    f"sum(increase(meterline_flow_restarts_total{{{_HERE}}}[1h])) or vector(0)",
                    "restarts",
                ),
            )
            .decimals(0)
            .thresholds(limits(1, 5)),
        ],
    )


def _throughput() -> Row:
    return Row("Throughput", [*_outcomes(), *_troubled()])


def _outcomes() -> list[Panel]:
    return [
        overridden(
            stacked(
                graph(
                    "Events by outcome",
                    "What became of events: accepted, duplicate, conflict, rejected, "
                    "suppressed, or absorbed (counted before, seen again on replay).",
                    unit="eps",
                    queries=[
                        promql(
                            "sum by (outcome) "
                            f"(rate(meterline_events_total{{{_HERE}}}[$__rate_interval]))",
                            "{{outcome}}",
                        )
                    ],
                )
            ),
            outcome_colors(),
        ),
        overridden(
            bounded(
                graph(
                    "Share of events that do not count",
                    "Duplicates, conflicts and rejected events as a share of all. A producer "
                    "that retries too much, or that was changed, shows here.",
                    unit="percentunit",
                    queries=[
                        promql(
                            "sum by (outcome) (rate(meterline_events_total{"
                            f'{_HERE}, outcome=~"duplicate|conflict|rejected"'
                            "}[$__rate_interval])) / ignoring (outcome) group_left () "
                            f"sum(rate(meterline_events_total{{{_HERE}}}[$__rate_interval]))",
                            "{{outcome}}",
                        )
                    ],
                ),
                warning=0.1,
                bad=0.5,
            ),
            outcome_colors(),
        ),
    ]


def _troubled() -> list[Panel]:
    return [
        stacked(
            graph(
                "Rejected events by code",
                "Why events could not be counted. They are kept: `meterline rejects` lists, "
                "mends and sends them again.",
                unit="eps",
                queries=[
                    promql(
                        "sum by (code) "
                        f"(rate(meterline_rejected_events_total{{{_HERE}}}[$__rate_interval]))",
                        "{{code}}",
                    )
                ],
            )
        ),
        overridden(
            graph(
                "Late events",
                "Accepted events that arrived after the allowed lateness. They count, in the "
                "window in which they occurred.",
                unit="eps",
                queries=[
                    promql(
                        f"sum(rate(meterline_late_events_total{{{_HERE}}}[$__rate_interval]))",
                        "late",
                    )
                ],
            ),
            outcome_colors(),
        ),
    ]


def _freshness() -> Row:
    return Row(
        "Freshness",
        [
            graph(
                "Lag by partition",
                "Messages between what was read and the end of the log. One partition alone: a "
                "customer with most of the traffic, or a slow worker. All: too few workers.",
                unit="short",
                queries=[promql(f"sum by (partition) ({_LAGS})", "{{partition}}")],
            ),
            bounded(
                graph(
                    "Behind the clock by partition",
                    "How long ago the moment is to which a partition is complete, as last written. "
                    "The slowest partition decides for all totals.",
                    unit="s",
                    queries=[
                        promql(f"time() - min by (partition) ({_WATERMARKS})", "{{partition}}")
                    ],
                ),
                warning=10 * _MINUTE_S,
                bad=30 * _MINUTE_S,
            ),
        ],
    )


def _flushes() -> Row:
    seconds = f"meterline_flush_seconds_bucket{{{_HERE}}}[$__rate_interval]"
    events = f"meterline_flush_events_bucket{{{_HERE}}}[$__rate_interval]"
    return Row(
        "Flushes",
        [
            bounded(
                graph(
                    "Time of a flush",
                    "From the first write to the commit of offsets. Estimated from buckets.",
                    unit="s",
                    queries=[
                        promql(
                            f"histogram_quantile(0.{percent}, sum by (le) (rate({seconds})))",
                            f"p{percent}",
                            ref_id=ref_id,
                        )
                        for percent, ref_id in ((50, "A"), (95, "B"), (99, "C"))
                    ],
                    span=8,
                ),
                warning=5,
                bad=30,
            ),
            graph(
                "Events in a flush",
                "Larger flushes cost less for each event; a few events each is normal where there "
                "is little to do. The percentiles are estimated from buckets.",
                unit="short",
                queries=[
                    promql(
                        f"histogram_quantile(0.{percent}, sum by (le) (rate({events})))",
                        f"p{percent}",
                        ref_id=ref_id,
                    )
                    for percent, ref_id in ((50, "A"), (95, "B"))
                ],
                span=8,
            ),
            shares(
                graph(
                    "Where the flow spends its time",
                    "Shares of the stages in the time of the dataflow's threads; source waits "
                    "for messages, too. Claims and flushes run beside it: dedup_wait is what "
                    "they hold up.",
                    unit="percentunit",
                    queries=[
                        promql(
                            "sum by (stage) "
                            f"(rate(meterline_stage_seconds_total{{{_HERE}}}[$__rate_interval]))",
                            "{{stage}}",
                        )
                    ],
                    span=8,
                )
            ),
        ],
    )


def _state() -> Row:
    return Row(
        "State",
        [
            timeline(
                "Servers",
                "Whether the servers answer every worker; away if one worker says so.",
                states={"1": ("answers", "green"), "0": ("away", "red")},
                query=promql(
                    f"min by (dependency) (meterline_dependency_up{{{_HERE}}})", "{{dependency}}"
                ),
                span=8,
            ),
            graph(
                "Units held in memory",
                "(customer, meter, group, period) units that each worker's ledger keeps; beyond "
                "METERLINE_LEDGER_UNITS_MAX they are read again from ClickHouse.",
                unit="short",
                queries=[promql(f"meterline_ledger_units{{{_HERE}}}", "{{instance}}")],
                span=8,
            ),
            timeline(
                "Catalog",
                "Whether the workers could take over the catalog folder; if not, they go on with "
                "the one before.",
                states={"0": ("taken over", "green"), "1": ("refused", "red")},
                query=promql(f"max(meterline_catalog_refused{{{_HERE}}})", "catalog"),
                span=8,
            ),
            graph(
                "Restarts by error",
                "How often flows were started anew in five minutes, by the error that ended them.",
                unit="none",
                queries=[
                    promql(
                        "sum by (error) "
                        f"(increase(meterline_flow_restarts_total{{{_HERE}}}[5m])) "
                        'or label_replace(vector(0), "error", "none", "", "")',
                        "{{error}}",
                    )
                ],
            ),
            graph(
                "Partitions by worker",
                "How many partitions each worker holds. None for long: more workers than "
                "partitions, or a worker that cannot join.",
                unit="none",
                queries=[promql(f"meterline_assigned_partitions{{{_HERE}}}", "{{instance}}")],
            ),
            *dedup_memory(),
        ],
    )
