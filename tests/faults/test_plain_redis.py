"""Counting over a Redis without Meterline's module, and over one that gets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest
from harness import Deployment

from deploy.localstack.redis_module import VARIABLE
from deploy.localstack.stack import LocalStack
from loadtest.plan import Plan
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_form import ClaimForm
from sinks.dedup_status import dedup_status


@pytest.fixture
def plain(fault_stack: LocalStack, tmp_path: Path) -> Iterator[LocalStack]:
    """The servers of the others, but a Redis of this test's own that has no module."""
    stack = _stack(fault_stack, tmp_path, has_module=False)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def _stack(fault_stack: LocalStack, folder: Path, *, has_module: bool) -> LocalStack:
    given = {name: at for name, at in fault_stack.env().items() if name != "REDIS_URL"}
    without = {} if has_module else {VARIABLE: "no"}
    return LocalStack(folder / "stack", environment={**given, **without})


def _deployment(stack: LocalStack, folder: Path, seed: int) -> Deployment:
    (folder / "deployment").mkdir()
    plan = Plan(events=20_000, partitions=4, customers=300, events_per_second=5_000)
    return Deployment(stack, folder / "deployment", seed=seed, plan=plan)


def _form(deployment: Deployment) -> ClaimForm:
    status = dedup_status(deployment.settings, connect_clickhouse(deployment.settings))
    assert status.is_in_force
    return status.form


@pytest.mark.parametrize("fault", ["killed", "wiped"])
def test_a_plain_redis_and_a_worker_lost_under_load_cost_no_event(
    plain: LocalStack, tmp_path: Path, seed: int, *, fault: str
) -> None:
    with closing(_deployment(plain, tmp_path, seed)) as deployment:
        workers = [deployment.start_worker(), deployment.start_worker()]
        deployment.wait_shared(*workers)
        with deployment.producing(over_s=8):
            sleep(2)
            workers[0].kill()
            sleep(1)
            redis = plain.service("redis")
            if fault == "wiped":
                redis.wipe()
            else:
                redis.kill()
                redis.start()
        deployment.assert_exact()
        workers[1].wait_ready()
        assert _form(deployment) is ClaimForm.HASHES


def test_a_redis_that_gets_the_module_under_load_costs_no_event(
    fault_stack: LocalStack, plain: LocalStack, tmp_path: Path, seed: int
) -> None:
    with closing(_deployment(plain, tmp_path, seed)) as deployment:
        worker = deployment.start_worker()
        deployment.wait_shared(worker)
        with deployment.producing(over_s=8):
            sleep(3)
            assert _form(deployment) is ClaimForm.HASHES
            plain.service("redis").stop()
            worker.wait_red("Redis")
            _stack(fault_stack, tmp_path, has_module=True).service("redis").start()
        deployment.assert_exact()
        worker.wait_ready()
        assert _form(deployment) is ClaimForm.TABLES
        reasons = [row[0] for row in deployment.query("SELECT reason FROM dedup_memories")]
        assert "laid out anew" in reasons
