"""A stack of this folder's own, since its servers are killed; a fresh deployment for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from harness import Deploy, Deployment

from deploy.localstack import kafka_service
from deploy.localstack.stack import LocalStack
from loadtest.plan import Plan

_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL")
_SEED = 20_262


@pytest.fixture(scope="session")
def fault_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka, Redis and ClickHouse that nobody else uses.

    The broker allows shorter sessions than by default: a killed worker's partitions move sooner.
    """
    shorter = f"{kafka_service._CONFIG}group.min.session.timeout.ms=1000\n"
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(kafka_service, "_CONFIG", shorter)
    environment = {name: value for name, value in os.environ.items() if name not in _SERVERS}
    stack = LocalStack(tmp_path_factory.mktemp("fault-stack"), environment=environment)
    stack.up()
    yield stack
    stack.down()
    monkeypatch.undo()


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of every load and of every random moment."""
    return int(os.environ.get("METERLINE_FAULT_SEED", _SEED))


@pytest.fixture
def deploy(fault_stack: LocalStack, tmp_path: Path, seed: int) -> Iterator[Deploy]:
    """Makes deployments; when the test ends, servers that it hurt are running again."""
    made: list[Deployment] = []

    def make(
        events: int = 20_000,
        partitions: int = 4,
        customers: int = 300,
        own: Mapping[str, str] | None = None,
    ) -> Deployment:
        folder = tmp_path / f"deployment-{len(made) + 1}"
        folder.mkdir()
        plan = Plan(
            events=events, partitions=partitions, customers=customers, events_per_second=5_000
        )
        made.append(Deployment(fault_stack, folder, seed=seed, plan=plan, own=own))
        return made[-1]

    yield make
    fault_stack.up()
    for deployment in made:
        deployment.close()
