"""Every metric of a worker: name, unit, labels, meaning; declared here and nowhere else."""

from prometheus_client import ProcessCollector

from metering.metric_registry import MetricRegistry
from metering.rejection import RejectionCode

OUTCOMES = ("accepted", "duplicate", "conflict", "rejected", "suppressed", "absorbed")
DEPENDENCIES = ("kafka", "redis", "clickhouse")
#: Classes of transient errors, which end a flow.
ERRORS = ("DependencyDown", "AssignmentLost", "DedupMemoryLost", "ClaimsForgotten")

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
            buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        )  # fmt: skip
        self.flush_events = self.histogram(
            "flush_events", "Accepted events in one flush", unit="events",
            buckets=(1, 100, 1_000, 10_000, 50_000, 100_000, 200_000, 400_000),
        )  # fmt: skip
        self.stage_seconds = self.counter(
            "stage_seconds_total",
            "Time that the dataflow's thread spent in a stage; claims and flush run beside it",
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
