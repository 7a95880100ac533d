"""An event is marked as seen in one store and written to another: any crash in between is exact.

The mark of this pipeline is a claim in Redis that names its owner's coordinate; it is taken before
the write. So "between write and mark" is a mark that was lost after the write.
"""

from __future__ import annotations

import pytest
from harness import Deploy, Deployment
from own_events import usage
from worker_process import wait_for

_CUSTOMERS = 40
_TOTALS = "SELECT customer_id, toString(quantity), events FROM live_usage ORDER BY customer_id"
#: 2.5 requests at 0.0015 each, from the first one on.
_CHARGES = "SELECT customer_id, toString(charge) FROM period_charges ORDER BY customer_id"


def test_case_01_an_event_that_was_marked_and_not_written_counts_once_when_the_client_retries(
    deploy: Deploy,
) -> None:
    deployment = _crashed(deploy, kill_before="1:1")
    assert deployment.accounted() == 0

    deployment.send(_copies())
    deployment.start_worker()

    _assert_each_once(deployment)


def test_case_02_killed_between_mark_and_write(deploy: Deploy) -> None:
    deployment = _crashed(deploy, kill_before="1:1")
    assert deployment.accounted() == 0

    deployment.start_worker()

    deployment.send(_copies())
    _assert_each_once(deployment)


@pytest.mark.parametrize(
    ("kill_before", "written"),
    [("2:1", "raw"), ("4:1", "all but the commit")],
)
def test_case_02_killed_between_write_and_mark(
    deploy: Deploy, kill_before: str, written: str
) -> None:
    deployment = _crashed(deploy, kill_before=kill_before)
    assert deployment.accounted() == _CUSTOMERS, written

    deployment.stack.service("redis").wipe()
    # The copy waits on another partition, which may be read first.
    deployment.send(_copies())
    deployment.start_worker()

    _assert_each_once(deployment)


def test_marks_that_were_lost_with_redis_are_not_written_when_a_copy_was_counted_meanwhile(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=1, partitions=2, own=_plans())
    slow = deployment.start_worker(freeze_before="flush:1", kafka={"session.timeout.ms": 10_000})
    slow.wait_ready()
    other = deployment.start_worker()
    deployment.wait_shared(slow, other)
    wait_for("the other to say what it reads", lambda: len(other.partitions) == 1)
    (theirs,) = other.partitions

    # The slow one has marked the events and not written them; then all marks are gone, and the
    # other one counts the copies.
    deployment.send([(1 - theirs, usage("work-1", name, quantity="2.5")) for name in _names()])
    slow.wait_frozen()
    deployment.stack.service("redis").wipe()
    deployment.send([(theirs, usage("work-1", name, quantity="2.5")) for name in _names()])
    deployment.wait_accounted(_CUSTOMERS)
    slow.resume()

    _assert_each_once(deployment)
    assert "DedupMemoryLost" in slow.text


def _crashed(deploy: Deploy, *, kill_before: str) -> Deployment:
    """A worker was killed in the flush that held one event of each customer, in partition 0."""
    deployment = deploy(events=1, partitions=2, own=_plans())
    deployment.send([(0, usage("work-1", name, quantity="2.5")) for name in _names()])
    deployment.start_worker(kill_before=kill_before).wait_killed()
    return deployment


def _copies() -> list[tuple[int, bytes]]:
    """The client retries, and its retry goes to another partition."""
    return [(1, usage("work-1", name, quantity="2.5")) for name in _names()]


def _names() -> list[str]:
    return [f"customer-{number}" for number in range(_CUSTOMERS)]


def _plans() -> dict[str, str]:
    return dict.fromkeys(_names(), "enterprise")


def _assert_each_once(deployment: Deployment) -> None:
    deployment.wait_drained()
    assert deployment.query(_TOTALS) == [(name, "2.5", 1) for name in sorted(_names())]
    assert deployment.query(_CHARGES) == [(name, "0.00375") for name in sorted(_names())]
    copies = deployment.query("SELECT customer_id, count() FROM duplicate_events FINAL GROUP BY 1")
    assert sorted(map(tuple, copies)) == sorted((name, 1) for name in _names())
    deployment.assert_verified()
