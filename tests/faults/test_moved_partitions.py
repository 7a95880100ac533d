"""Partitions that move: workers come and go, and some do not know they were replaced."""

from __future__ import annotations

from random import Random
from time import sleep

from harness import Deploy
from worker_process import WorkerProcess, wait_for

WRITES = ("usage_events", "usage_totals", "watermarks", "commit")


def test_partitions_move_between_workers_that_come_and_go_without_a_gap(deploy: Deploy) -> None:
    deployment = deploy(events=24_000, partitions=6)
    first = deployment.start_worker()
    deployment.wait_shared(first)

    with deployment.producing(over_s=9):
        second = deployment.start_worker()
        deployment.wait_shared(first, second)
        third = deployment.start_worker()
        deployment.wait_shared(first, second, third)
        first.stop()
        deployment.wait_shared(second, third)

    deployment.assert_exact()
    second.stop()
    third.stop()


def test_zombies_frozen_before_each_write_do_no_harm_when_they_wake(
    deploy: Deploy, seed: int
) -> None:
    random = Random(seed)
    deployment = deploy(events=16_000, partitions=6)
    zombies = [
        deployment.start_worker(freeze_before=f"{write}:{random.randint(2, 3)}") for write in WRITES
    ]
    deployment.wait_shared(*zombies)
    deployment.produce(0.8)
    for zombie in zombies:
        zombie.wait_frozen()

    heir = deployment.start_worker()
    deployment.wait_shared(heir)
    deployment.wait_drained()
    for zombie in random.sample(zombies, len(zombies)):
        zombie.resume()
    deployment.wait_shared(heir, *zombies)
    for zombie in zombies:
        _wait_flushed(zombie)

    deployment.assert_exact()
    deployment.produce()
    deployment.assert_exact()


def _wait_flushed(worker: WorkerProcess) -> None:
    """Wait for one more flush: then every write that was under way before has ended."""
    name = "meterline_flush_seconds_count"
    before = worker.metric(name)
    wait_for("one more flush", lambda: worker.metric(name) > before)


def test_a_worker_suspended_at_a_random_moment_does_no_harm_when_it_wakes(
    deploy: Deploy, seed: int
) -> None:
    deployment = deploy(events=24_000)
    zombie, heir = deployment.start_worker(), deployment.start_worker()
    deployment.wait_shared(zombie, heir)

    with deployment.producing(over_s=8):
        sleep(Random(seed).uniform(1, 3))
        zombie.suspend()
        deployment.wait_shared(heir)
        zombie.resume()

    deployment.wait_shared(zombie, heir)
    deployment.assert_exact()
