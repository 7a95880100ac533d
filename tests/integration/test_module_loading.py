"""Loading the module where it would do harm is refused, and what is there goes on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.localstack.ports import LOOPBACK, find_free
from deploy.localstack.redis_module import compiled_module
from deploy.localstack.redis_service import find_redis_server
from metering.errors import DependencyDown
from sinks.dedup_form import ClaimForm
from sinks.dedup_memory import MemoryLayout
from sinks.dedup_rebuild_shards import RebuildShards

_STATE = "loading:{d0}"
Start = Callable[..., Any]


@pytest.fixture
def module() -> Path:
    found = compiled_module(os.environ)
    if found is None:
        pytest.skip("there is no C compiler, so there is no module either")
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers that take modules while they run; gives a client of each."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(*options: str | int | Path) -> Any:
        (port,) = find_free(1)
        folder = tmp_path / str(port)
        folder.mkdir()
        words = ["--bind", LOOPBACK, "--port", port, "--dir", folder, "--save", "",
                 "--enable-module-command", "yes", *options]  # fmt: skip
        processes.append(
            subprocess.Popen(
                [str(find_redis_server()), *map(str, words)], stdout=subprocess.DEVNULL
            )
        )
        client = redis.Redis(host=LOOPBACK, port=port)
        for _ in range(600):
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return client
        raise AssertionError("the server does not answer")

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def _claim(server: Any, number: int) -> bytes:
    claims = number.to_bytes(12, "big") + b"\1" + bytes(11)
    found: bytes = server.execute_command("METERLINE.CLAIM", _STATE, "m", "gen:s:0", 1, 5, claims)
    return found


def _lay_out(server: Any) -> None:
    server.hset(_STATE, mapping={"marker": "m", "gen:s:0": 1, "newest": 5, "since": 5})


def test_a_module_that_is_loaded_again_is_refused_and_goes_on(start: Start, module: Path) -> None:
    server = start("--loadmodule", module)
    _lay_out(server)
    assert _claim(server, 1) == b"K\0"
    with pytest.raises(redis.ResponseError, match="Error loading"):
        server.execute_command("MODULE", "LOAD", str(module))
    assert _claim(server, 1) == b"K\1"
    assert _claim(server, 2) == b"K\0"
    server.save()
    assert server.execute_command("METERLINE.TABLE", f"{_STATE}:5")[0] == 2


def test_a_replica_that_missed_claims_does_not_get_the_module(start: Start, module: Path) -> None:
    primary = start("--loadmodule", module)
    _lay_out(primary)
    port = primary.connection_pool.connection_kwargs["port"]
    replica = start("--replicaof", LOOPBACK, port)
    while not replica.exists(_STATE):
        time.sleep(0.05)
    _claim(primary, 1)
    with pytest.raises(redis.ResponseError, match="Error loading"):
        replica.execute_command("MODULE", "LOAD", str(module))
    assert not replica.info("modules").get("modules")


def test_a_replica_that_has_the_module_has_every_claim(start: Start, module: Path) -> None:
    primary = start("--loadmodule", module)
    _lay_out(primary)
    _claim(primary, 1)
    port = primary.connection_pool.connection_kwargs["port"]
    replica = start("--loadmodule", module, "--replicaof", LOOPBACK, port)
    while not replica.exists(f"{_STATE}:5"):
        time.sleep(0.05)
    for number in range(2, 50):
        _claim(primary, number)
    assert primary.wait(1, 10_000) == 1
    assert replica.execute_command("METERLINE.TABLE", f"{_STATE}:5")[0] == 49


def _shards(server: Any, form: ClaimForm) -> RebuildShards:
    layout = MemoryLayout("loading", 1, 10, timedelta(hours=1))
    return RebuildShards(server, layout, "token", form=form)


def test_a_user_who_may_not_restore_claims_does_not_take_the_memory(
    start: Start, module: Path
) -> None:
    server = start("--loadmodule", module)
    _lay_out(server)
    server.acl_setuser("worker", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    port = server.connection_pool.connection_kwargs["port"]
    limited = redis.Redis(host=LOOPBACK, port=port, username="worker", password="any")
    _shards(limited, ClaimForm.TABLES).require_allowed()
    server.execute_command("ACL", "SETUSER", "worker", "-meterline.restore")
    with pytest.raises(DependencyDown, match=r"Allow the workers' user"):
        _shards(limited, ClaimForm.TABLES).require_allowed()
    assert server.hget(_STATE, "marker") == b"m"


def test_what_was_claimed_in_another_form_counts_as_nothing(start: Start, module: Path) -> None:
    server = start("--loadmodule", module)
    server.hset(_STATE, mapping={"newest": 5, "window_ms": 3_600_000, "format": "3"})
    assert _shards(server, ClaimForm.HASHES).newest_windows() == [5]
    assert _shards(server, ClaimForm.TABLES).newest_windows() == [0]
