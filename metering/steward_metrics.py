"""Every metric of the steward, which looks at what workers wrote; declared here, nowhere else."""

from prometheus_client import ProcessCollector

from metering.metric_registry import MetricRegistry

#: What `verify` checks, as values of the label `check`.
CONSERVATION_CHECKS = ("offsets", "totals", "distinct", "identities", "originals")
#: Customers that are shown while they breach.
BREACHES_MAX = 200


class StewardMetrics(MetricRegistry):
    """The metrics of one steward. A customer appears only while something is wrong with it."""

    def __init__(self) -> None:
        """Nothing is known yet: a gauge without a job behind it has no series."""
        super().__init__()
        ProcessCollector(registry=self.registry)
        self._declare_jobs()
        self._declare_money()
        self._declare_usage()

    def _declare_jobs(self) -> None:
        self.job_done = self.gauge(
            "job_success_timestamp_seconds", "When a job of the steward last ended well",
            unit="Unix seconds", labels=["name"],
        )  # fmt: skip
        self.job_period = self.gauge(
            "job_period_seconds", "How often a job of the steward is to run",
            unit="seconds", labels=["name"],
        )  # fmt: skip
        self.job_seconds = self.gauge(
            "job_duration_seconds", "How long the last run of a job took",
            unit="seconds", labels=["name"],
        )  # fmt: skip
        self.job_failures = self.counter(
            "job_failures_total", "Runs of a job that ended with an error",
            unit="runs", labels=["name"],
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
        self.variance = self.bounded_gauge(
            "reconciliation_variance",
            "Variance of the last reconciliation by class, as an absolute amount",
            unit="units of the currency", labels=["class", "currency"], series_max=BREACHES_MAX,
        )  # fmt: skip

    def _declare_usage(self) -> None:
        self.anomaly = self.bounded_gauge(
            "usage_anomaly_ratio",
            "Usage of the current window by what was expected, while it breaches; kind is spike, "
            "drop, silence or delta",
            unit="ratio", labels=["kind", "customer", "meter"], series_max=BREACHES_MAX,
        )  # fmt: skip
        self.threshold = self.bounded_gauge(
            "usage_threshold_ratio",
            "Usage by allowance, commit or budget, while a threshold is crossed",
            unit="ratio", labels=["kind", "customer", "meter"], series_max=BREACHES_MAX,
        )  # fmt: skip
