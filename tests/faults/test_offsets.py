"""Offsets that are set back, are not there, or run ahead."""

from __future__ import annotations

import pytest
from conftest import Deploy
from harness import Deployment
from worker_process import WorkerProcess

_CANNOT_GO_ON = 2
_TOTALS = (
    "SELECT customer_id, meter, `group`, window_start, toString(quantity), events, late_events,"
    " first_occurred_at, last_occurred_at FROM live_usage ORDER BY 1, 2, 3, 4"
)


@pytest.mark.parametrize("memory", ["kept", "lost"])
def test_a_replay_of_the_whole_topic_has_no_effect(deploy: Deploy, memory: str) -> None:
    deployment = deploy(events=10_000)
    deployment.produce()
    worker = deployment.start_worker()
    deployment.assert_exact()
    worker.stop()
    before = deployment.query(_TOTALS)

    deployment.group.commit(dict.fromkeys(deployment.group.ends(), 0))
    if memory == "lost":
        deployment.stack.service("redis").wipe()
    worker = deployment.start_worker()
    deployment.wait_drained()

    assert deployment.query(_TOTALS) == before
    assert _seen_again(worker) > 0.9 * deployment.plan.events
    deployment.assert_exact()


def test_a_group_that_was_deleted_reads_the_topic_again_without_effect(deploy: Deploy) -> None:
    deployment = deploy(events=6_000)
    deployment.produce()
    worker = deployment.start_worker()
    deployment.wait_drained()
    worker.stop()

    deployment.group.forget_commits()
    worker = deployment.start_worker()
    deployment.assert_exact()
    assert _seen_again(worker) > 0.9 * deployment.plan.events


def test_a_committed_offset_beyond_the_log_stops_the_worker_until_a_person_acts(
    deploy: Deploy,
) -> None:
    deployment = _half_counted(deploy)
    committed, ends = deployment.group.committed(), deployment.group.ends()
    counted = deployment.accounted()

    deployment.group.commit({1: ends[1] + 17})
    worker = deployment.start_worker()
    assert worker.wait_end() == _CANNOT_GO_ON
    assert f"the log ends at {ends[1]}: 17 offsets are missing" in _joined(worker)
    assert deployment.accounted() == counted

    deployment.group.commit(committed)
    deployment.start_worker()
    deployment.assert_exact()


def test_a_committed_offset_before_the_log_stops_the_worker_and_says_how_many_are_missing(
    deploy: Deploy,
) -> None:
    deployment = _half_counted(deploy)
    committed = deployment.group.committed()
    counted = deployment.accounted()

    deployment.group.cut_log(2, committed[2] + 5)
    worker = deployment.start_worker()
    assert worker.wait_end() == _CANNOT_GO_ON
    assert f"the log begins at {committed[2] + 5}: 5 offsets are missing" in _joined(worker)
    assert deployment.accounted() == counted


def test_an_offset_that_retention_took_after_it_was_counted_is_not_needed_again(
    deploy: Deploy,
) -> None:
    deployment = _half_counted(deploy)
    committed = deployment.group.committed()
    deployment.group.cut_log(2, committed[2])

    deployment.group.commit({2: committed[2] - 1})
    worker = deployment.start_worker()
    assert worker.wait_end() == _CANNOT_GO_ON
    assert "1 offsets are missing" in _joined(worker)

    deployment.group.commit({2: committed[2]})
    deployment.start_worker()
    deployment.assert_exact()


def _half_counted(deploy: Deploy) -> Deployment:
    """Half of a load is counted, the worker is stopped, and the other half waits in the log."""
    deployment = deploy(events=6_000)
    deployment.produce(0.5)
    worker = deployment.start_worker()
    deployment.wait_drained()
    worker.stop()
    deployment.produce()
    return deployment


def _seen_again(worker: WorkerProcess) -> float:
    """Events that the worker has read, whatever it found them to be."""
    names = ("accepted", "duplicate", "conflict", "rejected", "suppressed", "absorbed")
    return sum(worker.metric(f'meterline_events_total{{outcome="{name}"}}') for name in names)


def _joined(worker: WorkerProcess) -> str:
    return " ".join(worker.text.split())
