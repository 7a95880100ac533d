from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.localstack.cli import app
from deploy.localstack.stack import LocalStack


@pytest.fixture(autouse=True)
def _nothing_external(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "CLICKHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_status_of_a_running_stack_exits_with_0(stack: LocalStack) -> None:
    result = CliRunner().invoke(app, ["status", "--data", str(stack.data_dir)])

    assert result.exit_code == 0
    assert stack.env()["REDIS_URL"] in result.stdout


def test_status_as_json_can_be_read_by_a_program(stack: LocalStack) -> None:
    result = CliRunner().invoke(app, ["status", "--json", "--data", str(stack.data_dir)])

    found = {service["name"]: service for service in json.loads(result.stdout)}
    assert found["redis"]["condition"] == "up"
    assert found["redis"]["healthy"] is True
    assert found["redis"]["pid"] == stack.service("redis").pid


def test_env_prints_exactly_the_variables(stack: LocalStack) -> None:
    result = CliRunner().invoke(app, ["env"], env={"METERLINE_STACK": str(stack.data_dir)})

    lines = [f"{name}={value}" for name, value in stack.env().items()]
    assert result.stdout == "\n".join(lines) + "\n"


def test_a_stack_that_does_not_run_exits_with_3(tmp_path: Path) -> None:
    status = CliRunner().invoke(app, ["status", "--data", str(tmp_path)])
    env = CliRunner().invoke(app, ["env", "--data", str(tmp_path)])

    assert status.exit_code == 3
    assert env.exit_code == 3
    assert env.stdout == ""
    assert "not running: kafka, redis, clickhouse" in env.stderr


def test_up_and_down_work_on_one_service(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]

    up = CliRunner().invoke(app, ["up", "--service", "redis", *data])
    stack = LocalStack(tmp_path, environment={})
    was_healthy = stack.service("redis").is_healthy()
    down = CliRunner().invoke(app, ["down", *data])

    assert (up.exit_code, down.exit_code) == (0, 0)
    assert was_healthy
    assert stack.service("redis").condition() == "down"


def test_a_missing_program_is_reported_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    result = CliRunner().invoke(app, ["up", "--service", "kafka", "--data", str(tmp_path)])

    assert result.exit_code == 1
    assert "apt install openjdk-17-jre-headless" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["up", "down", "status", "env"])
def test_every_command_documents_its_exit_codes_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])

    assert "Exit codes:" in result.stdout
    assert f"Example: meterline stack {command}" in result.stdout
