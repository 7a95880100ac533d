"""Offsets that are set back, are not there, or run ahead."""

from __future__ import annotations

from harness import Deploy, Deployment
from worker_process import WorkerProcess

_CANNOT_GO_ON = 2
_TOTALS = (
    "SELECT customer_id, meter, `group`, window_start, toString(quantity), events, late_events,"
    " first_occurred_at, last_occurred_at FROM live_usage ORDER BY 1, 2, 3, 4"
)
_CHARGES = (
    "SELECT customer_id, meter, `group`, period_start, part_start, plan, price_version,"
    " toString(quantity), toString(included), toString(overage), toString(charge),"
    " toString(amount), card FROM period_charges ORDER BY 1, 2, 3, 4, 5"
)


def test_replays_of_the_whole_topic_have_no_effect(deploy: Deploy) -> None:
    deployment = deploy(events=8_000)
    deployment.produce()
    worker = deployment.start_worker()
    deployment.assert_exact()
    before = deployment.query(_TOTALS), deployment.query(_CHARGES)

    for lost in ("offsets", "offsets and dedup memory", "group"):
        worker.stop()
        if lost == "group":
            deployment.group.forget_commits()
        else:
            deployment.group.commit(dict.fromkeys(deployment.group.ends(), 0))
        if "memory" in lost:
            deployment.stack.service("redis").wipe()
        worker = deployment.start_worker()
        deployment.wait_drained()

        assert (deployment.query(_TOTALS), deployment.query(_CHARGES)) == before, lost
        assert _seen_again(worker) > 0.9 * deployment.plan.events
        deployment.assert_exact()


def test_a_committed_offset_outside_the_log_stops_the_worker_until_a_person_acts(
    deploy: Deploy,
) -> None:
    deployment = _half_counted(deploy)
    committed, ends = deployment.group.committed(), deployment.group.ends()
    counted = deployment.accounted()

    deployment.group.commit({1: ends[1] + 17})
    _assert_refused(deployment, f"the log ends at {ends[1]}: 17 offsets are missing")
    deployment.group.commit(committed)

    # Retention took what was counted already, and somebody sets the group back before that.
    deployment.group.cut_log(2, committed[2])
    deployment.group.commit({2: committed[2] - 3})
    _assert_refused(deployment, f"the log begins at {committed[2]}: 3 offsets are missing")
    assert deployment.accounted() == counted

    deployment.group.commit(committed)
    deployment.start_worker()
    deployment.assert_exact()


def test_events_that_retention_took_before_they_were_read_are_said_to_be_missing(
    deploy: Deploy,
) -> None:
    deployment = _half_counted(deploy)
    begins = deployment.group.committed()[2] + 5
    counted = deployment.accounted()

    deployment.group.cut_log(2, begins)
    _assert_refused(deployment, f"the log begins at {begins}: 5 offsets are missing")
    assert deployment.accounted() == counted


def _assert_refused(deployment: Deployment, sentence: str) -> None:
    worker = deployment.start_worker()
    assert worker.wait_end() == _CANNOT_GO_ON
    assert sentence in " ".join(worker.text.split())


def _half_counted(deploy: Deploy) -> Deployment:
    """Half of a load is counted, the worker is stopped, and the other half waits in the log."""
    deployment = deploy(events=4_000)
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
