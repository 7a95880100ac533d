"""What one event costs, as a report of `make bench` measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Document = Mapping[str, Any]
#: Speeds and CPU of the live path with prices, where the report has them.
_PATHS = ("rated", "throughput")


class CostsMissing(Exception):
    """A report lacks a figure; the text says which, and what to run."""


@dataclass(frozen=True)
class Costs:
    """Per event: microseconds of CPU and bytes. `section` is where CPU and flushes are from.

    `worker_locked_us` is the part of `worker_us` in threads that share the interpreter's lock.
    """

    section: str
    message_bytes: float
    worker_us: float
    worker_locked_us: float
    worker_memory_bytes: float
    redis_us: float
    redis_bytes: float
    clickhouse_us: float
    clickhouse_merges_us: float
    kafka_read_us: float
    kafka_write_us: float
    kafka_bytes: float
    raw_bytes: float
    totals_bytes: float


def read_costs(report: Document) -> Costs:
    """The medians over the rounds of a report. Raises `CostsMissing`."""
    figures = _Figures(report)
    section = next((name for name in _PATHS if figures.has(name)), "")
    if not section:
        msg = "the report: expected a section `throughput`, got none; run `make bench`"
        raise CostsMissing(msg)
    client = figures.value(section, "cpu_worker: Kafka client")
    worker = figures.value(section, "cpu_worker")
    memory = max(
        figures.value(name, "worker_peak_memory")
        for name in ("keys", section)
        if figures.has(name)
    )  # fmt: skip
    value = figures.value
    return Costs(
        section=section,
        message_bytes=value("throughput", "message_bytes"),
        worker_us=worker,
        worker_locked_us=worker - client,
        worker_memory_bytes=memory * 2**20,
        redis_us=value(section, "cpu_redis"),
        redis_bytes=value("throughput", "redis_bytes_per_event"),
        clickhouse_us=value(section, "cpu_clickhouse"),
        clickhouse_merges_us=value("throughput", "cpu_clickhouse_merges_after"),
        kafka_read_us=value(section, "cpu_kafka"),
        kafka_write_us=value("throughput", "cpu_kafka_filling"),
        kafka_bytes=value("throughput", "kafka_bytes_per_event"),
        raw_bytes=value("throughput", "disk_usage_events"),
        totals_bytes=value("throughput", "disk_usage_totals"),
    )


class _Figures:
    """Figures by the name of their section, rounds together."""

    def __init__(self, report: Document) -> None:
        self._found: dict[tuple[str, str], list[float]] = {}
        sections: Sequence[Document] = report.get("sections", ())
        self._names = set()
        for section in sections:
            if section.get("error"):
                continue
            name = str(section["name"]).partition(".")[0]
            self._names.add(name)
            for figure in section["figures"]:
                if not isinstance(figure["value"], str):
                    self._found.setdefault((name, figure["name"]), []).append(figure["value"])

    def has(self, section: str) -> bool:
        return section in self._names

    def value(self, section: str, name: str) -> float:
        found = self._found.get((section, name))
        if not found:
            msg = (
                f"the report: expected the figure {name} in the section {section}, got none; run"
                " `make bench` of this version, on servers of its own"
            )
            raise CostsMissing(msg)
        return float(median(found))
