"""Every metric of the process that archives: none of a worker's, whose alerts it would mislead."""

from prometheus_client import ProcessCollector

from metering.metric_registry import MetricRegistry


class ArchiveMetrics(MetricRegistry):
    """The metrics of one process. Counters restart with it."""

    def __init__(self) -> None:
        """All at zero."""
        super().__init__()
        ProcessCollector(registry=self.registry)
        self.files = self.counter(
            "archive_files_total", "Files written to the archive", unit="files", labels=["topic"]
        )
        self.rows = self.counter(
            "archive_rows_total", "Messages in files written to the archive",
            unit="messages", labels=["topic"],
        )  # fmt: skip
        self.bytes = self.counter(
            "archive_bytes_total", "Size of files written to the archive",
            unit="bytes", labels=["topic"],
        )  # fmt: skip
        self.write_seconds = self.histogram(
            "archive_write_seconds", "Time to encode one file and make it durable", unit="seconds",
            buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
        )  # fmt: skip
        self.lag = self.gauge(
            "archive_lag_messages",
            "Offsets between the end of the archive and the end of the log",
            unit="messages", labels=["topic", "partition"],
        )  # fmt: skip
        self.dependency_up = self.gauge(
            "archive_dependency_up", "1 while Kafka, or the archive's store, answers, else 0",
            unit="", labels=["dependency"],
        )  # fmt: skip
        self.waiting_bytes = self.gauge(
            "archive_waiting_bytes", "Bytes read and not yet in a file of the archive", unit="bytes"
        )
