"""Rows that went ahead of their totals, and what happens to worker or servers before those follow.

Flushes are so long here that each is a few writes of rows, and then one of totals.
"""

from __future__ import annotations

import pytest
from harness import Deploy, Deployment
from worker_process import wait_for

from deploy.localstack.service import Service
from sinks.migrate import migrate

_SMALL = {"events": 12_000, "customers": 20}
#: The group waits for a worker that stands still.
_PATIENT = {"session.timeout.ms": 120_000}


def _deployed(deploy: Deploy) -> Deployment:
    deployment = deploy(**_SMALL)
    deployment.gather_long()
    deployment.produce()
    return deployment


def _raw(deployment: Deployment) -> int:
    return int(deployment.query("SELECT count() FROM usage_events")[0][0])


@pytest.mark.parametrize("step", ["1:1", "1:2", "1:3", "2:1", "3:1", "4:1"])
def test_a_worker_that_is_killed_around_them_counts_once(deploy: Deploy, step: str) -> None:
    deployment = _deployed(deploy)
    first = deployment.start_worker(kill_before=step)
    wait_for("the worker to kill itself", lambda: not first.is_running)
    if step == "2:1":
        assert _raw(deployment) > 4000, "more than one write of rows"
        assert not deployment.durable(), "and none of totals"
    deployment.start_worker()
    deployment.assert_exact()


def test_totals_are_not_written_when_clickhouse_lost_the_rows(deploy: Deploy) -> None:
    deployment = _deployed(deploy)
    worker = deployment.start_worker(freeze_before="flush:1", kafka=_PATIENT)
    worker.wait_frozen()
    assert _raw(deployment), "rows went ahead"
    deployment.stack.service("clickhouse").wipe()
    migrate(deployment.settings)
    worker.resume()
    worker.wait_says("RowsLost: ClickHouse lost rows that this worker wrote")
    deployment.assert_exact()
    assert worker.is_running


def test_a_worker_that_stood_still_in_them_and_was_replaced_does_no_harm(deploy: Deploy) -> None:
    deployment = _deployed(deploy)
    zombie = deployment.start_worker(freeze_before="usage_events:0")
    zombie.wait_frozen()
    other = deployment.start_worker()
    deployment.wait_drained()
    zombie.resume()
    wait_for("the first to hold partitions again", lambda: zombie.held + other.held == 4)
    deployment.assert_exact()


def test_claims_that_redis_forgets_before_the_totals_are_made_again(deploy: Deploy) -> None:
    deployment = _deployed(deploy)
    worker = deployment.start_worker(freeze_before="flush:1", kafka=_PATIENT)
    worker.wait_frozen()
    redis: Service = deployment.stack.service("redis")
    redis.wipe()
    worker.resume()
    deployment.assert_exact()
    assert worker.is_running
