"""Capacity by round numbers: each expected value is worked by hand beside it."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from loadtest.capacity.__main__ import NAME, measured_by, render_stored
from loadtest.capacity.costs import Costs, CostsMissing, read_costs
from loadtest.capacity.sizing import Assumptions, size, worker_limit
from loadtest.capacity.tables import DEFAULT_WINDOW, WINDOWS, bytes_text, render
from loadtest.page import printed, put
from metering.settings import Settings

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_GIB = 1 << 30

COSTS = Costs(
    section="rated",
    message_bytes=200,
    worker_us=6,
    worker_locked_us=5,
    worker_memory_bytes=_GIB,
    redis_us=2,
    redis_bytes=32,
    clickhouse_us=3,
    clickhouse_merges_us=1,
    kafka_read_us=0.5,
    kafka_write_us=1,
    kafka_bytes=100,
    raw_bytes=50,
    totals_bytes=2,
)
GIVEN = Assumptions(
    utilisation=0.5,
    window_days=1,
    kafka_replicas=3,
    redis_replicas=2,
    clickhouse_replicas=2,
    kafka_retention_days=7,
    machine_cores=10,
    machine_memory_bytes=64 * _GIB,
    machine_network_bytes=1e9,
    redis_process_bytes=55_296_000_000,
    redis_masters_max=500,
    partitions_per_worker=4,
    inserts_per_second_max=10,
    flush_wait_s=0.4,
    flush_rows_max=500_000,
)


def test_a_worker_carries_what_its_lock_allows() -> None:
    assert worker_limit(COSTS, GIVEN) == 100_000  # half of a second / 5 us


def test_every_part_of_a_million_events_a_second() -> None:
    found = size(COSTS, GIVEN, rate=1_000_000)
    workers, redis = found.need("workers"), found.need("Redis masters")
    clickhouse, kafka = found.need("ClickHouse shards"), found.need("Kafka brokers")
    assert (workers.units, workers.cores) == (10, 12)  # 1 M / 100 k; 6 cores at one half
    assert workers.memory_bytes == 10 * _GIB
    assert workers.machines == 2  # 12 of 10 cores
    assert found.partitions == 40
    # 1 M x 86 400 s x 2 generations x 32 bytes = 5 529.6 GB, of 55.296 GB each.
    assert (found.dedup_bytes, redis.units, redis.copies) == (5_529_600_000_000, 100, 2)
    assert redis.why == "Redis: memory of the dedup window"
    assert redis.cores == 8  # 2 cores at one half, and as much for the replica
    # 4 us an event: 4 cores at one half, of 10.
    assert (clickhouse.exact, clickhouse.units, clickhouse.cores) == (0.8, 1, 16)
    assert clickhouse.machines == 2
    # 3 copies x 1.5 us = 4.5 cores at one half; the network 600 MB of 1 000 MB, both ways.
    assert (kafka.exact, kafka.units) == (0.9, 3)
    assert kafka.why == "Kafka: cores of a broker"


def test_storage_of_a_day_has_all_copies() -> None:
    found = size(COSTS, GIVEN, rate=10_000)
    assert found.raw_day_bytes == 10_000 * 86_400 * 50 * 2
    assert found.totals_day_bytes == 10_000 * 86_400 * 2 * 2
    assert found.kafka_day_bytes == 10_000 * 86_400 * 100 * 3
    assert found.kafka_bytes == 7 * found.kafka_day_bytes


def test_the_part_of_which_most_are_needed_is_the_first_bottleneck() -> None:
    assert size(COSTS, GIVEN, rate=10_000).first_bottleneck == "Redis: memory of the dedup window"
    short = replace(GIVEN, window_days=0.001)
    assert (
        size(COSTS, short, rate=10_000).first_bottleneck == "worker: the thread of its partitions"
    )
    slow = replace(COSTS, redis_us=20)
    assert size(slow, short, rate=10_000).first_bottleneck == "Redis: its one thread"
    heavy = replace(COSTS, clickhouse_us=300)
    assert (
        size(heavy, short, rate=10_000).first_bottleneck
        == "ClickHouse: cores that insert and merge"
    )
    wide = replace(COSTS, kafka_bytes=100_000)
    assert size(wide, short, rate=10_000).first_bottleneck == "Kafka: network of a broker"


@pytest.mark.parametrize(
    ("rate", "wait_s", "inserts"),
    [
        (100_000, 0.4, 2.5),  # one worker, each 0.4 s
        (1_000_000, 1.0, 10),  # ten workers gather for a second, so that a shard gets ten
        (10_000_000, 5.0, 20),  # a hundred would gather for ten, but 5 s are 500 000 rows
    ],
)
def test_flushes_gather_longer_until_they_are_full(
    rate: int, wait_s: float, inserts: float
) -> None:
    found = size(COSTS, GIVEN, rate=rate)
    assert (found.flush_wait_s, found.limits[0].asked) == (wait_s, inserts)
    assert found.limits[0].is_passed == (inserts > 10)


def test_a_limit_that_is_passed_is_the_bottleneck() -> None:
    short = replace(GIVEN, window_days=0.001)
    assert size(COSTS, short, rate=10_000_000).first_bottleneck.startswith("ClickHouse: inserts")
    # 1 000 masters of at most 500, against 20 inserts of at most 10: what is passed most counts.
    fewer = replace(GIVEN, redis_masters_max=100)
    assert size(COSTS, fewer, rate=10_000_000).first_bottleneck == "Redis Cluster: masters"


def _report(**changed: float | None) -> dict[str, Any]:
    throughput: dict[str, Any] = {
        "message_bytes": 200, "redis_bytes_per_event": 32, "cpu_clickhouse_merges_after": 1,
        "cpu_kafka_filling": 1, "kafka_bytes_per_event": 100, "disk_usage_events": 50,
        "disk_usage_totals": 2, "verify": "holds", **changed,
    }  # fmt: skip
    rated = {
        "cpu_worker": 6, "cpu_worker: Kafka client": 1, "cpu_redis": 2, "cpu_clickhouse": 3,
        "cpu_kafka": 0.5, "worker_peak_memory": 512,
    }  # fmt: skip
    rounds = [{**rated, "cpu_redis": cost} for cost in (2, 90, 1)]
    sections: list[tuple[str, dict[str, Any]]] = [
        ("throughput", throughput),
        ("keys", {"worker_peak_memory": 1024}),
    ]
    sections += [(f"rated.{number}", figures) for number, figures in enumerate(rounds, 1)]
    return {
        "command": "python tests/bench", "started_at": "2026-01-31T12:00:00+00:00", "seed": 1,
        "quick": False, "machine": {"CPU": "a CPU"},
        "sections": [
            {
                "name": name, "error": "",
                "figures": [{"name": n, "value": v} for n, v in figures.items() if v is not None],
            }
            for name, figures in sections
        ],
    }  # fmt: skip


def test_costs_are_medians_over_the_rounds_of_a_report() -> None:
    assert read_costs(_report()) == COSTS


def test_a_report_without_a_figure_says_which() -> None:
    with pytest.raises(CostsMissing, match=r"kafka_bytes_per_event in the section throughput"):
        read_costs(_report(kafka_bytes_per_event=None))
    with pytest.raises(CostsMissing, match="expected a section `throughput`"):
        read_costs({"sections": []})


def test_sections_that_failed_do_not_count() -> None:
    report = _report()
    report["sections"][-2]["error"] = "the worker ended"
    assert read_costs(report).redis_us == 1.5  # of 2 and 1


def test_the_page_is_what_the_command_prints() -> None:
    stored = json.loads((_DOCS / "capacity.json").read_text(encoding="utf-8"))
    page = (_DOCS / "capacity.md").read_text(encoding="utf-8")
    assert printed(page, NAME) == render_stored(stored).strip()


def test_every_rate_and_window_is_in_the_text() -> None:
    text = render(measured_by(_report()), GIVEN)
    for shown in ("10,000,000", "32 days", "a CPU", "2026-01-31 12:00 UTC", "1 hour"):
        assert shown in text
    assert "nan" not in text


def test_the_window_that_is_assumed_stands_beside_the_default() -> None:
    text = render(measured_by(_report()), replace(GIVEN, window_days=7))
    default = "The default of `METERLINE_DEDUP_WINDOW` is 32 days"
    assert f"For a dedup window of 7 days. {default}" in text
    known = Settings.model_fields["dedup_window"].default
    assert timedelta(days=WINDOWS[DEFAULT_WINDOW]) == known == timedelta(days=32)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1536, "1.5 KiB"), (3 << 50, "3 PiB"), (1 << 70, "1,024 EiB")],
)
def test_sizes_are_told_in_units_of_1024(size_bytes: int, text: str) -> None:
    assert bytes_text(size_bytes) == text


def test_what_is_put_into_a_page_replaces_what_was_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- printed by x -->\nold\n<!-- end of x -->\n\nkept\n")
    put(page, "x", text="new\n")
    assert printed(page.read_text(), "x") == "new"
    assert page.read_text().startswith("# A\n")
    assert page.read_text().endswith("\n\nkept\n")
    with pytest.raises(ValueError, match="once each"):
        put(page, "y", text="new")
