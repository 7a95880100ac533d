"""Every metric of the process that archives, beside those that it shares with workers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ArchiveMetrics:
    """In the registry of the process. Counters restart with it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """All at zero."""
        self.files = Counter(
            "meterline_archive_files_total", "Files written to the archive", ["topic"],
            registry=registry,
        )  # fmt: skip
        self.rows = Counter(
            "meterline_archive_rows_total", "Messages in files written to the archive", ["topic"],
            registry=registry,
        )  # fmt: skip
        self.bytes = Counter(
            "meterline_archive_bytes_total", "Bytes of files written to the archive", ["topic"],
            registry=registry,
        )  # fmt: skip
        self.write_seconds = Histogram(
            "meterline_archive_write_seconds", "Time to encode one file and make it durable",
            buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60), registry=registry,
        )  # fmt: skip
        self.lag = Gauge(
            "meterline_archive_lag_messages",
            "Offsets between the end of the archive and the end of the log",
            ["topic", "partition"],
            registry=registry,
        )
        self.waiting_bytes = Gauge(
            "meterline_archive_waiting_bytes", "Bytes read and not yet in a file of the archive",
            registry=registry,
        )  # fmt: skip
