"""`kill -9` of workers: at every numbered write step, and at random."""

from __future__ import annotations

from random import Random
from time import sleep

import pytest
from harness import Deploy, Deployment
from worker_process import wait_for

STEPS = (1, 2, 3, 4)


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_before_a_write_step_changes_no_total(
    deploy: Deploy, seed: int, step: int
) -> None:
    deployment = deploy(events=6_000)
    deployment.produce()
    nth = 2 + Random(seed * 10 + step).randrange(4)

    deployment.start_worker(kill_before=f"{step}:{nth}").wait_killed()
    assert _steps_done(deployment) == step - 1

    deployment.start_worker()
    deployment.assert_exact()


def _steps_done(deployment: Deployment) -> int:
    """How many steps of the flush under way are done, seen from outside."""
    durable, committed = deployment.durable(), deployment.group.committed()
    if durable != committed:
        return 3
    rows = deployment.query(
        "SELECT (SELECT count() FROM usage_events FINAL WHERE NOT disregarded),"
        " (SELECT sum(events) FROM usage_totals FINAL)"
    )
    raw, totals = rows[0]
    if raw > totals:
        return 1
    beyond = deployment.query(
        "SELECT count() FROM usage_totals AS t FINAL INNER JOIN (SELECT partition,"
        " max(next_offset) AS next_offset FROM watermarks GROUP BY partition) AS w"
        " USING (partition) WHERE t.absorbed_offset >= w.next_offset"
    )
    return 2 if beyond[0][0] else 0


def test_workers_killed_at_random_moments_lose_and_double_nothing(
    deploy: Deploy, seed: int
) -> None:
    random = Random(seed)
    deployment = deploy(events=30_000)
    alive = [deployment.start_worker(), deployment.start_worker()]
    deployment.wait_shared(*alive)

    with deployment.producing(over_s=9):
        for _ in range(4):
            sleep(random.uniform(0.5, 2.5))
            alive.pop(random.randrange(len(alive))).kill()
            alive.append(deployment.start_worker())

    wait_for("a worker to hold partitions", lambda: any(worker.held for worker in alive))
    deployment.assert_exact()
