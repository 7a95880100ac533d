"""Every metric: name, unit, labels, meaning; declared here and nowhere else."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class WorkerMetrics:
    """The metrics of one worker, in a registry of their own. Counters restart with the process."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self.events = Counter(
            "meterline_events_total",
            "Events by what became of them: accepted, duplicate, conflict, rejected, suppressed, "
            "absorbed (counted before, seen again on replay)",
            ["outcome"],
            registry=self.registry,
        )
        self.rejects = Counter(
            "meterline_rejected_events_total", "Rejected events by code", ["code"],
            registry=self.registry,
        )  # fmt: skip
        self.late = Counter(
            "meterline_late_events_total",
            "Accepted events that arrived after the allowed lateness",
            registry=self.registry,
        )
        self.lag = Gauge(
            "meterline_lag_messages", "Messages between what was read and the end of the log",
            ["partition"], registry=self.registry,
        )  # fmt: skip
        self.watermark = Gauge(
            "meterline_watermark_timestamp_seconds",
            "Moment (Unix seconds) to which a partition is complete, as last written",
            ["partition"],
            registry=self.registry,
        )
        self.partitions = Gauge(
            "meterline_assigned_partitions", "Partitions that this worker holds",
            registry=self.registry,
        )  # fmt: skip
        self.units = Gauge(
            "meterline_ledger_units", "(customer, meter, group, period) units held in memory",
            registry=self.registry,
        )  # fmt: skip
        self.flush_seconds = Histogram(
            "meterline_flush_seconds", "Time to make one flush durable and commit it",
            buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30), registry=self.registry,
        )  # fmt: skip
        self.flush_events = Histogram(
            "meterline_flush_events", "Accepted events in one flush",
            buckets=(1, 100, 1_000, 10_000, 50_000, 100_000, 200_000, 400_000),
            registry=self.registry,
        )  # fmt: skip
        self.dependency_up = Gauge(
            "meterline_dependency_up", "1 while the server answers, else 0", ["dependency"],
            registry=self.registry,
        )  # fmt: skip
        self.catalog_refused = Gauge(
            "meterline_catalog_refused",
            "1 while the catalog folder holds what cannot be taken over, and the one before counts",
            registry=self.registry,
        )
        self.restarts = Counter(
            "meterline_flow_restarts_total",
            "Times the flow was started anew, by the error that ended it",
            ["error"],
            registry=self.registry,
        )
        self.stage_seconds = Counter(
            "meterline_stage_seconds_total",
            "Time that the dataflow's thread spent in a stage; claims and flush run beside it",
            ["stage"],
            registry=self.registry,
        )


class StewardMetrics:
    """The metrics of a steward, in a registry of their own. Counters restart with the process."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self.job_runs = Counter(
            "meterline_steward_job_runs_total",
            "Runs of a job of the steward by how they ended: done, failed",
            ["job", "outcome"],
            registry=self.registry,
        )
        self.job_failing = Gauge(
            "meterline_steward_job_failing",
            "1 while the last run of a job failed; it is tried again with growing delays",
            ["job"],
            registry=self.registry,
        )
        self.job_done = Gauge(
            "meterline_steward_job_done_timestamp_seconds",
            "Moment (Unix seconds) at which a job ended well last",
            ["job"],
            registry=self.registry,
        )
        self.job_seconds = Histogram(
            "meterline_steward_job_seconds", "Time of one run of a job", ["job"],
            buckets=(0.1, 1, 5, 15, 60, 300, 900, 3600), registry=self.registry,
        )  # fmt: skip
        self.adjustments = Counter(
            "meterline_adjustments_total", "Adjustments for late usage that the steward posted",
            registry=self.registry,
        )  # fmt: skip
        self.adjustments_refused = Gauge(
            "meterline_adjustments_refused_customers",
            "Customers with late usage who would be charged other prices than they were billed by",
            registry=self.registry,
        )


class ReconciliationMetrics:
    """What the newest reconciliation found, in a registry of its own; labels are bounded."""

    def __init__(self) -> None:
        """All without a value, until a run is shown."""
        self.registry = CollectorRegistry()
        self.variance = Gauge(
            "meterline_reconciliation_variance",
            "Amount (in the currency) that the newest reconciliation found of a class and did not "
            "tolerate, the sizes of all checks added up",
            ["class", "currency"],
            registry=self.registry,
        )
        self.findings = Gauge(
            "meterline_reconciliation_findings",
            "Findings of the newest reconciliation by class, tolerated ones as well",
            ["class"],
            registry=self.registry,
        )
        self.exit_code = Gauge(
            "meterline_reconciliation_exit_code",
            "0 where the newest reconciliation found nothing that it did not tolerate, else 1",
            registry=self.registry,
        )
        self.finished = Gauge(
            "meterline_reconciliation_finished_timestamp_seconds",
            "Moment (Unix seconds) at which the newest reconciliation came to its end",
            registry=self.registry,
        )
