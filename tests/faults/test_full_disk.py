"""The disk of a server is full: the worker waits and says so, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import sleep

import pytest
from harness import Deployment
from small_disk import SmallDisk, small_disk
from worker_process import wait_for

from deploy.localstack.stack import LocalStack
from loadtest.plan import Plan

_MEGABYTES = {"clickhouse": 256, "redis": 16, "kafka": 64}


@contextmanager
def _beside(stack: LocalStack, folder: Path, name: str) -> Iterator[tuple[LocalStack, SmallDisk]]:
    """The servers of `stack`, except one that has a small disk for its data."""
    given = stack.env()
    del given[stack.service(name).variable]
    own = LocalStack(folder, environment=given)
    with small_disk(own.service(name).folder, megabytes=_MEGABYTES[name]) as disk:
        own.up([name])
        try:
            yield own, disk
        finally:
            own.down()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("clickhouse", "ClickHouse has no space left on its disk"),
        ("redis", "Redis cannot serve now"),
    ],
)
def test_a_full_disk_stops_progress_says_so_and_loses_nothing(
    fault_stack: LocalStack, tmp_path: Path, seed: int, name: str, reason: str
) -> None:
    with ExitStack() as opened:
        stack, disk = opened.enter_context(_beside(fault_stack, tmp_path / "stack", name))
        plan = Plan(events=20_000, partitions=4, customers=300, events_per_second=5_000)
        (tmp_path / "deployment").mkdir()
        deployment = opened.enter_context(
            closing(Deployment(stack, tmp_path / "deployment", seed=seed, plan=plan))
        )
        worker = deployment.start_worker()
        worker.wait_ready()
        deployment.produce(0.3)
        deployment.wait_drained()

        disk.fill()
        deployment.produce(0.7)
        worker.wait_red(reason)
        sleep(3)
        assert worker.is_running
        assert worker.page("/healthz").status == 200
        assert deployment.accounted() < 0.7 * plan.events

        disk.free()
        worker.wait_ready()
        deployment.produce()
        deployment.assert_exact()


def test_a_full_disk_of_kafka_ends_it_and_no_event_is_lost(
    fault_stack: LocalStack, tmp_path: Path, seed: int
) -> None:
    """The broker ends by itself when it cannot write; producers keep what it did not take."""
    with ExitStack() as opened:
        stack, disk = opened.enter_context(_beside(fault_stack, tmp_path / "stack", "kafka"))
        plan = Plan(events=20_000, partitions=4, customers=300, events_per_second=5_000)
        (tmp_path / "deployment").mkdir()
        deployment = opened.enter_context(
            closing(Deployment(stack, tmp_path / "deployment", seed=seed, plan=plan))
        )
        kafka, worker = stack.service("kafka"), deployment.start_worker()
        worker.wait_ready()
        deployment.produce(0.3)
        deployment.wait_drained()

        disk.fill()
        with deployment.producing(over_s=4):
            wait_for("the broker to end", lambda: kafka.pid is None)
            worker.wait_red("Kafka does not answer")
            assert worker.is_running
            assert worker.page("/healthz").status == 200
            assert deployment.accounted() < plan.events
            disk.free()
            kafka.start()
        deployment.assert_exact()
        worker.wait_ready()
