"""Every metric: name, unit, labels, meaning; declared here and nowhere else."""

from prometheus_client import ProcessCollector

from metering.metric_registry import MetricRegistry
from metering.rejection import RejectionCode

OUTCOMES = ("accepted", "duplicate", "conflict", "rejected", "suppressed", "absorbed")
DEPENDENCIES = ("kafka", "redis", "clickhouse")
#: What `verify` checks, as values of the label `check`.
CONSERVATION_CHECKS = ("offsets", "totals", "distinct", "identities", "originals")
#: Customers that are shown while they breach.
BREACHES_MAX = 200
#: Plans with their currency, and meters, that are shown.
SPEND_MAX = 50
#: Classes of transient errors, which end a flow.
ERRORS = ("DependencyDown", "AssignmentLost", "DedupMemoryLost", "RowsLost", "ClaimsForgotten")

#: Seconds that a write takes.
_WRITE_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
#: From the record timestamp; 10 s is the bound of the freshness objective.
RECORD_DELAY_MS = (
    100, 250, 500, _SECOND, 2 * _SECOND, 5 * _SECOND, 10 * _SECOND, 30 * _SECOND, _MINUTE,
    5 * _MINUTE, 15 * _MINUTE, _HOUR,
)  # fmt: skip
#: From the time of the event, which its producer may have held back for days.
EVENT_DELAY_MS = (
    500, _SECOND, 2 * _SECOND, 5 * _SECOND, 10 * _SECOND, 30 * _SECOND, _MINUTE, 5 * _MINUTE,
    _HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 31 * _DAY,
)  # fmt: skip
LATE_BY_MS = (
    _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY, 31 * _DAY,
)  # fmt: skip


class WorkerMetrics(MetricRegistry):
    """The metrics of one worker. Counters restart with the process."""

    def __init__(self) -> None:
        """All at zero; counters show each value of their labels from the start."""
        super().__init__()
        ProcessCollector(registry=self.registry)
        self._declare_events()
        self._declare_delays()
        self._declare_progress()
        self._declare_dedup()
        for outcome in OUTCOMES:
            self.events.labels(outcome)
        for code in RejectionCode:
            self.rejects.labels(str(code))
        for error in ERRORS:
            self.restarts.labels(error)

    def _declare_events(self) -> None:
        self.events = self.counter(
            "events_total",
            "Events by what became of them: accepted, duplicate, conflict, rejected, suppressed, "
            "absorbed (counted before, seen again on replay)",
            unit="events", labels=["outcome"],
        )  # fmt: skip
        self.rejects = self.counter(
            "rejected_events_total", "Rejected events by code", unit="events", labels=["code"]
        )
        self.late = self.counter(
            "late_events_total", "Accepted events that arrived after the allowed lateness",
            unit="events",
        )  # fmt: skip

    def _declare_delays(self) -> None:
        self.record_delay = self.delays(
            "record_delay_seconds",
            "From an accepted event's record timestamp until it was durable and in the totals",
            bounds_ms=RECORD_DELAY_MS,
        )
        self.event_delay = self.delays(
            "event_delay_seconds",
            "From when an accepted event occurred until it was durable and in the totals",
            bounds_ms=EVENT_DELAY_MS,
        )
        self.late_by = self.delays(
            "late_by_seconds",
            "By how much accepted late events came after the allowed lateness",
            bounds_ms=LATE_BY_MS,
        )
        self.flush_seconds = self.histogram(
            "flush_seconds", "Time to make one flush durable and commit it", unit="seconds",
            buckets=_WRITE_S,
        )  # fmt: skip
        self.ahead_seconds = self.histogram(
            "ahead_seconds", "Time to write rows that go ahead of their flush", unit="seconds",
            buckets=_WRITE_S,
        )  # fmt: skip
        self.flush_events = self.histogram(
            "flush_events", "Accepted events in one flush", unit="events",
            buckets=(1, 100, 1_000, 10_000, 50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000),
        )  # fmt: skip
        self.stage_seconds = self.counter(
            "stage_seconds_total",
            "Time that the dataflow's thread spent in a stage; decode, claims, flush run beside it",
            unit="seconds", labels=["stage"],
        )  # fmt: skip
        self.stage_cpu_seconds = self.counter(
            "stage_cpu_seconds_total",
            "CPU time of a stage: of the dataflow's, and of those in threads of their own",
            unit="seconds", labels=["stage"],
        )  # fmt: skip

    def _declare_progress(self) -> None:
        self.lag = self.gauge(
            "lag_messages", "Messages between what was read and the end of the log",
            unit="messages", labels=["partition"],
        )  # fmt: skip
        self.watermark = self.gauge(
            "watermark_timestamp_seconds",
            "Moment to which a partition is complete, as last written",
            unit="Unix seconds", labels=["partition"],
        )  # fmt: skip
        self.queryable = self.gauge(
            "queryable_timestamp_seconds",
            "Record timestamp up to which a partition's events are durable and in the totals",
            unit="Unix seconds", labels=["partition"],
        )  # fmt: skip
        self.lateness = self.gauge(
            "allowed_lateness_seconds", "How far a watermark stays behind on purpose",
            unit="seconds",
        )  # fmt: skip
        self.partitions = self.gauge(
            "assigned_partitions", "Partitions that this worker holds", unit="partitions"
        )
        self.topic_partitions = self.gauge(
            "topic_partitions", "Partitions of the events topic, 0 while not known",
            unit="partitions",
        )  # fmt: skip
        self.unassigned = self.gauge(
            "unassigned_seconds",
            "For how long the flow has run without a partition; 0 while it holds one",
            unit="seconds",
        )  # fmt: skip
        self.flowing = self.gauge("flowing", "1 while the flow runs, 0 while it waits", unit="")
        self.units = self.gauge(
            "ledger_units", "(customer, meter, group, period) units held in memory", unit="units"
        )
        self.dependency_up = self.gauge(
            "dependency_up", "1 while the server answers, else 0", unit="", labels=["dependency"]
        )
        self.catalog_refused = self.gauge(
            "catalog_refused",
            "1 while the catalog folder holds what cannot be taken over, and the one before counts",
            unit="",
        )
        self.rows_lost = self.gauge(
            "rows_lost_timestamp_seconds",
            "Moment at which this worker last found that ClickHouse holds less than it had "
            "acknowledged (a restored backup); 0 for never",
            unit="Unix seconds",
        )  # fmt: skip
        self.restarts = self.counter(
            "flow_restarts_total", "Times the flow was started anew, by the error that ended it",
            unit="starts", labels=["error"],
        )  # fmt: skip

    def _declare_dedup(self) -> None:
        self.dedup_used = self.gauge(
            "dedup_memory_bytes", "Memory that the Redis of the dedup memory uses", unit="bytes"
        )
        self.dedup_limit = self.gauge(
            "dedup_memory_limit_bytes",
            "Memory at which that Redis refuses writes; 0 where none is set", unit="bytes",
        )  # fmt: skip
        self.dedup_entries = self.gauge(
            "dedup_entries", "Identities in the newest generation of the dedup memory",
            unit="identities",
        )  # fmt: skip
        self.dedup_planned = self.gauge(
            "dedup_planned_entries", "Identities that one generation is laid out for",
            unit="identities",
        )  # fmt: skip


class ReconciliationMetrics(MetricRegistry):
    """What the newest reconciliation found; without a value until a run is shown."""

    def __init__(self) -> None:
        """All without a value."""
        super().__init__()
        self.variance = self.gauge(
            "reconciliation_variance",
            "Amount that the newest reconciliation of each period found of a class and did not "
            "tolerate, the sizes of all findings added up",
            unit="the currency", labels=["class", "currency"],
        )  # fmt: skip
        self.findings = self.gauge(
            "reconciliation_findings",
            "Findings of the newest reconciliation of each period by class, tolerated ones as "
            "well",
            unit="findings", labels=["class"],
        )  # fmt: skip
        self.exit_code = self.gauge(
            "reconciliation_exit_code",
            "0 where the newest reconciliation of each period found nothing that it did not "
            "tolerate, else 1",
            unit="",
        )  # fmt: skip
        self.finished = self.gauge(
            "reconciliation_finished_timestamp_seconds",
            "Moment at which the newest reconciliation came to its end", unit="Unix seconds",
        )  # fmt: skip


class StewardMetrics(ReconciliationMetrics):
    """The metrics of a steward. A customer appears only while something is wrong with it.

    A job is called `name`: the label `job` is Prometheus' own.
    """

    def __init__(self) -> None:
        """Nothing is known yet: a gauge without a job behind it has no series."""
        super().__init__()
        ProcessCollector(registry=self.registry)
        self._declare_jobs()
        self._declare_money()
        self._declare_usage()

    def _declare_jobs(self) -> None:
        self.job_runs = self.counter(
            "steward_job_runs_total",
            "Runs of a job of the steward by how they ended: done, failed",
            unit="runs", labels=["name", "outcome"],
        )  # fmt: skip
        self.job_failing = self.gauge(
            "steward_job_failing",
            "1 while the last run of a job failed; it is tried again with growing delays",
            unit="", labels=["name"],
        )  # fmt: skip
        self.job_done = self.gauge(
            "steward_job_done_timestamp_seconds", "Moment at which a job ended well last",
            unit="Unix seconds", labels=["name"],
        )  # fmt: skip
        self.job_began = self.gauge(
            "steward_job_began_timestamp_seconds",
            "Moment at which the steward began to run a job, again and again",
            unit="Unix seconds", labels=["name"],
        )  # fmt: skip
        self.job_every = self.gauge(
            "steward_job_every_seconds", "How often a job is run", unit="seconds", labels=["name"]
        )
        self.job_seconds = self.histogram(
            "steward_job_seconds", "Time of one run of a job", unit="seconds", labels=["name"],
            buckets=(0.1, 1, 5, 15, 60, 300, 900, 3600),
        )  # fmt: skip

    def _declare_money(self) -> None:
        self.conservation = self.gauge(
            "conservation_differences",
            "What breaks the law of conservation, by check: offsets, totals, distinct, identities, "
            "originals",
            unit="differences", labels=["check"],
        )  # fmt: skip
        self.conservation_compared = self.gauge(
            "conservation_compared_totals", "Totals that the current round of checks compared",
            unit="totals",
        )  # fmt: skip
        self.conservation_round = self.gauge(
            "conservation_round_timestamp_seconds", "When all totals had last been compared once",
            unit="Unix seconds",
        )  # fmt: skip
        self.rejects_waiting = self.gauge(
            "rejects_waiting",
            "Rejected events of the last 30 days that were not sent again, by code",
            unit="events", labels=["code"],
        )  # fmt: skip
        self.adjustments = self.counter(
            "adjustments_total", "Adjustments for late usage that the steward posted",
            unit="adjustments",
        )  # fmt: skip
        self.adjustments_refused = self.gauge(
            "adjustments_refused_customers",
            "Customers with late usage who would be charged other prices than they were billed by",
            unit="customers",
        )  # fmt: skip

    def _declare_usage(self) -> None:
        self.anomaly = self.bounded_gauge(
            "usage_anomaly_ratio",
            "Usage by what was expected, in the window in which it was found, while it breaches; "
            "kind is spike, drop, silence or delta; infinite where nothing was expected",
            unit="ratio", labels=["kind", "customer", "meter"], series_max=BREACHES_MAX,
        )  # fmt: skip
        self.threshold = self.bounded_gauge(
            "usage_threshold_ratio",
            "Usage by allowance, commit or budget when it reached its newest threshold, until the "
            "period ends",
            unit="ratio", labels=["kind", "customer", "meter"], series_max=BREACHES_MAX,
        )  # fmt: skip
        self.projected = self.bounded_gauge(
            "usage_projected_ratio",
            "What usage was projected to come to by allowance, commit or budget when that was "
            "found, until the period ends",
            unit="ratio", labels=["kind", "customer", "meter"], series_max=BREACHES_MAX,
        )  # fmt: skip
        self.findings_open = self.gauge(
            "usage_findings_open",
            "Findings that are open, by kind: spike, drop, silence, delta, allowance, commit, "
            "budget; also those that the other gauges leave out",
            unit="findings", labels=["kind"],
        )  # fmt: skip
        self.undelivered = self.gauge(
            "alerts_undelivered_messages",
            "Messages about findings that the outlet (topic, webhook) did not take in the last "
            "check; it is sent them again",
            unit="messages", labels=["outlet"],
        )  # fmt: skip
        self.spend = self.bounded_gauge(
            "spend_amount",
            "What the billing periods under way come to so far, base fees and charges",
            unit="the currency", labels=["plan", "currency"], series_max=SPEND_MAX,
        )  # fmt: skip
        self.spend_customers = self.bounded_gauge(
            "spend_customers", "Customers with a billing period under way",
            unit="customers", labels=["plan", "currency"], series_max=SPEND_MAX,
        )  # fmt: skip
        self.usage_events = self.bounded_gauge(
            "usage_hour_events", "Counted events of the last hour that is complete, by meter",
            unit="events", labels=["meter"], series_max=SPEND_MAX,
        )  # fmt: skip
        self.usage_customers = self.bounded_gauge(
            "usage_hour_customers", "Customers with usage in that hour, by meter",
            unit="customers", labels=["meter"], series_max=SPEND_MAX,
        )  # fmt: skip
