"""The compose file keeps its promises, as far as they can be read; it is not run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_FILE = _DEPLOY / "compose.yaml"
_ONCE = {"migrate"}
#: Has no page of its own to ask.
_WITHOUT_HEALTH = {"migrate", "steward"}
Service = dict[str, Any]


def services() -> dict[str, Service]:
    """Every service, with what it inherits."""
    found: dict[str, Service] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["services"]
    return found


def faults(name: str, service: Service) -> list[str]:
    """What a service must not be like."""
    found = [
        f"{name}: expected {port} on loopback only"
        for port in service.get("ports", [])
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port))
    ]
    if not re.search(r":v?\d+\.\d+", service["image"]):
        found.append(f"{name}: expected a version of {service['image']}")
    if name not in _WITHOUT_HEALTH and "healthcheck" not in service:
        found.append(f"{name}: expected a healthcheck")
    for key, value in service.get("environment", {}).items():
        is_secret = re.search(r"PASSWORD|IDENTITY_KEY|AUTH", key) or "@" in str(value)
        if is_secret and "9093" not in str(value) and not re.search(r"\$\{\w+:\?", str(value)):
            found.append(f"{name}: expected {key} from .env, without a default")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith(".") and not (_DEPLOY / source).exists():
            found.append(f"{name}: expected something to mount at {source}")
    return found


def test_the_schema_is_that_of_compose() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         str(_FILE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_prometheus_takes_its_file() -> None:
    command = shutil.which("promtool")
    assert command, "expected the program promtool: run `make setup`"
    done = subprocess.run(
        [command, "check", "config", "--syntax-only", str(_DEPLOY / "compose" / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", services())
def test_a_service_is_on_loopback_pinned_watched_and_has_no_password(name: str) -> None:
    assert faults(name, services()[name]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"ports": ["9092:9092"]},
        {"image": "redis:latest"},
        {"healthcheck": None},
        {"environment": {"REDIS_PASSWORD": "secret"}},
        {"environment": {"CLICKHOUSE_URL": "http://default:secret@clickhouse:8123/"}},
        {"volumes": ["./nowhere:/data"]},
    ],
)
def test_a_planted_fault_is_found(change: Service) -> None:
    broken = {**services()["redis"], **change}
    if broken["healthcheck"] is None:
        del broken["healthcheck"]
    assert len(faults("redis", broken)) == 1


def test_every_variable_is_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", _FILE.read_text(encoding="utf-8")))
    text = (_DEPLOY / ".env.example").read_text(encoding="utf-8")
    offered = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert wanted == set(offered)
    assert [name for name, value in offered.items() if "PASSWORD" in name and value] == []


def test_every_service_but_the_first_start_runs_again() -> None:
    for name, service in services().items():
        assert service["restart"] == ("on-failure" if name in _ONCE else "unless-stopped")
