"""The dedup memory over a Redis Cluster of three servers, one of which goes away under load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import sleep

import pytest
import redis
from harness import Deployment
from redis_cluster import RedisCluster

from cli.checks.redis import check_redis
from cli.checks.result import Level
from deploy.localstack.redis_module import compiled_module
from deploy.localstack.stack import LocalStack
from loadtest.plan import Plan
from sinks.clickhouse import connect_clickhouse
from sinks.dedup_form import ClaimForm, script_text
from sinks.dedup_status import dedup_status

_SHARDS = ("d0", "d1", "d2", "d3")


@pytest.fixture(params=[ClaimForm.TABLES, ClaimForm.HASHES], ids=["tables", "hashes"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """A fresh one, which keeps claims in this form."""
    module = compiled_module(os.environ) if request.param is ClaimForm.TABLES else None
    made = RedisCluster(tmp_path / "cluster", module=module)
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.mark.parametrize(
    ("fault", "holds"),
    [("restarted", "the home shard"), ("wiped", "the home shard"), ("wiped", "another shard")],
)
def test_one_server_of_a_cluster_lost_under_load_costs_no_event(
    fault_stack: LocalStack, cluster: RedisCluster, tmp_path: Path, seed: int, *,
    fault: str, holds: str,
) -> None:  # fmt: skip
    given = {**fault_stack.env(), "REDIS_URL": cluster.url}
    stack = LocalStack(tmp_path / "stack", environment=given)
    (tmp_path / "deployment").mkdir()
    plan = Plan(events=20_000, partitions=4, customers=300, events_per_second=5_000)
    with closing(Deployment(stack, tmp_path / "deployment", seed=seed, plan=plan)) as deployment:
        holders = [cluster.holder_of(tag) for tag in _SHARDS]
        lost = holders[0] if holds == "the home shard" else max(set(holders) - {holders[0]})
        workers = [deployment.start_worker(), deployment.start_worker()]
        deployment.wait_shared(*workers)

        with deployment.producing(over_s=6):
            sleep(2)
            assert all(cluster.keys(number) for number in holders)
            assert len(set(holders)) > 1
            cluster.kill(lost)
            workers[0].wait_red("Redis")
            if fault == "wiped":
                cluster.wipe(lost)
            cluster.start(lost)

        deployment.assert_exact()
        for worker in workers:
            worker.wait_ready()
        reasons = [row[0] for row in deployment.query("SELECT reason FROM dedup_memories")]
        assert ("memory lost" if fault == "wiped" else "redis restarted") in reasons
        status = dedup_status(deployment.settings, connect_clickhouse(deployment.settings))
        assert status.is_in_force
        assert status.form is (ClaimForm.TABLES if cluster.has_module else ClaimForm.HASHES)
        assert all(check.level != Level.FAIL for check in check_redis(deployment.settings))


@pytest.mark.parametrize("part", ["claims", "counts"])
def test_a_shard_of_which_a_part_is_moved_refuses_claims(cluster: RedisCluster, part: str) -> None:
    state, holder = "n:{d0}", cluster.holder_of("d0")
    for field, value in (("marker", "m"), ("gen:s:0", 1), ("newest", 5), ("since", 5)):
        cluster.ask(holder, "HSET", state, field, value)
    first = bytes(12) + b"\1" + bytes(11)
    again = bytes(12) + b"\2" + bytes(11)
    words: tuple[str | int, ...] = ("METERLINE.CLAIM", state)
    moved, told = f"{state}:5", "is being moved"
    if not cluster.has_module:
        words = ("EVAL", script_text("dedup_claim.lua"), 1, state)
        moved, told = f"{state}:5:\0\0\0\0", "non local key"
    asked = again
    if part == "counts":
        moved, asked = f"{state}:entries", bytes(4) + b"\7" * 8 + b"\1" + bytes(11)
    claim = (*words, "m", "gen:s:0", 1, 5)
    assert cluster.ask(holder, *claim, first) == b"K\0"
    assert cluster.ask(holder, *claim, again)[:2] == b"K\2"
    cluster.send(moved, (holder + 1) % 3)
    with pytest.raises(redis.ResponseError, match=told):
        cluster.ask(holder, *claim, asked)
