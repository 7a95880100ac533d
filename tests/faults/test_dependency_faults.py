"""Redis, ClickHouse and Kafka go away, come back, or come back with nothing."""

from __future__ import annotations

from random import Random
from time import monotonic, sleep

import pytest
from harness import Deploy, Deployment
from worker_process import wait_for

_KAFKA_AWAY_S = 30.0


@pytest.mark.parametrize("fault", ["restarted", "wiped"])
def test_redis_lost_in_the_middle_of_a_load_costs_no_event(
    deploy: Deploy, seed: int, fault: str
) -> None:
    deployment = deploy()
    workers = [deployment.start_worker(), deployment.start_worker()]
    deployment.wait_shared(*workers)
    redis = deployment.stack.service("redis")

    with deployment.producing(over_s=5):
        sleep(Random(seed).uniform(1, 3))
        redis.kill()
        if fault == "wiped":
            redis.wipe()
        else:
            redis.start()

    deployment.assert_exact()
    reason = "memory lost" if fault == "wiped" else "redis restarted"
    assert reason in _reasons(deployment)


def test_case_20_without_the_dedup_store_counting_stops_says_so_and_resumes(
    deploy: Deploy,
) -> None:
    deployment = deploy(events=10_000)
    worker = deployment.start_worker()
    worker.wait_ready()
    redis = deployment.stack.service("redis")
    shares = {redis.kill: 0.4, redis.pause: 0.8}

    for hurt, share in shares.items():
        deployment.produce(share - 0.2)
        deployment.wait_drained()
        counted = deployment.accounted()

        hurt()
        deployment.produce(share)
        worker.wait_red("Redis does not answer")
        sleep(2)
        page = worker.page("/readyz")
        assert (page.status, "Redis" in page.text) == (503, True)
        assert worker.page("/healthz").status == 200
        assert deployment.accounted() == counted

        redis.resume() if hurt == redis.pause else redis.start()
        worker.wait_ready()
        deployment.wait_drained()
    deployment.produce()
    deployment.assert_exact()


def test_clickhouse_killed_in_the_middle_of_an_insert_leaves_totals_exact(
    deploy: Deploy, seed: int
) -> None:
    random = Random(seed)
    deployment = deploy(events=30_000)
    worker = deployment.start_worker()
    worker.wait_ready()
    clickhouse = deployment.stack.service("clickhouse")

    with deployment.producing(over_s=20):
        while "while inserting" not in worker.text:
            sleep(random.uniform(0.5, 1.5))
            # Standing still for a moment, it has requests that it will never answer.
            clickhouse.pause()
            sleep(0.3)
            clickhouse.kill()
            wait_for("the worker to notice", lambda: worker.page("/readyz").status == 503)
            clickhouse.start()
            worker.wait_ready()

    deployment.assert_exact()


def test_kafka_away_for_half_a_minute_costs_no_event(deploy: Deploy) -> None:
    deployment = deploy(events=30_000)
    workers = [deployment.start_worker(), deployment.start_worker()]
    deployment.wait_shared(*workers)
    kafka = deployment.stack.service("kafka")

    with deployment.producing(over_s=10):
        sleep(3)
        kafka.kill()
        gone = monotonic()
        for worker in workers:
            worker.wait_red("Kafka does not answer")
        sleep(max(0.0, gone + _KAFKA_AWAY_S - monotonic()))
        kafka.start()

    deployment.assert_exact()
    for worker in workers:
        worker.wait_ready()


def _reasons(deployment: Deployment) -> list[str]:
    return [str(row[0]) for row in deployment.query("SELECT reason FROM dedup_memories")]
