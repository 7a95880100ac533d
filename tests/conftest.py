"""Fixtures over real servers: one local stack for the session, a namespace for each test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from dataflows.kafka_reader import kafka_config
from deploy.localstack.redis_module import VARIABLE
from deploy.localstack.stack import LocalStack
from metering.settings import Settings, load_settings
from sinks.clickhouse import connect_clickhouse
from sinks.migrate import migrate
from sinks.topics import create_topics

ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL")
CATALOG = Path(__file__).resolve().parent.parent / "catalog"

# How long an example takes says nothing here: servers and other tests share the cores.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A running stack of this session; its addresses stand in the environment."""
    servers = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        servers.up()
        os.environ.update(servers.env())
        yield servers
    finally:
        servers.down()


@pytest.fixture(scope="session")
def plain_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis as anybody runs it: without Meterline's module."""
    servers = LocalStack(tmp_path_factory.mktemp("plain"), environment={VARIABLE: "no"})
    try:
        servers.up(["redis"])
        yield servers.service("redis").address
    finally:
        servers.down()


@pytest.fixture(params=["tables", "hashes"])
def either(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A fresh deployment, once on each form of the dedup memory."""
    if request.param == "tables":
        return settings
    monkeypatch.setenv("REDIS_URL", request.getfixturevalue("plain_redis"))
    return load_settings(catalog=CATALOG, http_port=0)


@pytest.fixture
def settings(stack: LocalStack) -> Iterator[Settings]:
    """A fresh deployment of its own: namespace, tables, topics; dropped afterwards."""
    del stack
    namespace = f"t{uuid.uuid4().hex[:10]}"
    os.environ["METERLINE_NAMESPACE"] = namespace
    found = load_settings(catalog=CATALOG, http_port=0)
    migrate(found)
    create_topics(found, kafka_config(found), partitions=4, replication=1)
    yield found
    os.environ.pop("METERLINE_NAMESPACE", None)
    client = connect_clickhouse(found, database=None)
    client.command(f"DROP DATABASE IF EXISTS {found.database}")
    client.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real servers may be tried again; a rerun is counted in the closing line."""
    for item in items:
        if item.path.parent.name in {"faults", "integration", "stack"}:
            item.add_marker(pytest.mark.flaky(reruns=2))
