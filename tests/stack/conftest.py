"""One real stack for all tests of this folder, and a fresh ClickHouse where one is hurt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from deploy.localstack.stack import LocalStack

_VARIABLES = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL")


@pytest.fixture(scope="session")
def own_environment() -> Mapping[str, str]:
    """The environment without the variables that would make a service external."""
    return {name: value for name, value in os.environ.items() if name not in _VARIABLES}


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, own_environment: Mapping[str, str]
) -> Iterator[LocalStack]:
    """Kafka, Redis and ClickHouse, up."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"), environment=own_environment)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def connect() -> Callable[..., Client]:
    """Makes a client of a stack, for one thread at a time, without a server-side session."""

    def connect_to(stack: LocalStack, **options: Any) -> Client:
        address = stack.service("clickhouse").address
        return clickhouse_connect.get_client(dsn=address, autogenerate_session_id=False, **options)

    return connect_to


@pytest.fixture
def client(stack: LocalStack, connect: Callable[..., Client]) -> Iterator[Client]:
    """A client of an empty database of its own, as user `default`."""
    with connect(stack) as admin:
        admin.command("DROP DATABASE IF EXISTS test SYNC")
        admin.command("CREATE DATABASE test")
        with connect(stack, database="test") as client:
            yield client
        admin.command("DROP DATABASE test SYNC")


@pytest.fixture
def fragile_stack(tmp_path: Path, own_environment: Mapping[str, str]) -> Iterator[LocalStack]:
    """A stack of which nothing runs yet, to be hurt."""
    stack = LocalStack(tmp_path / "stack", environment=own_environment)
    yield stack
    stack.down()
