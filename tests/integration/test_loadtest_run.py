"""`python -m loadtest run` as a user starts it, against the stack of the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.localstack.ports import find_free
from deploy.localstack.stack import LocalStack

_REPOSITORY = Path(__file__).resolve().parents[2]


def _environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "METERLINE_NAMESPACE"}
    return {**inherited, "PYTHONPATH": str(_REPOSITORY), **variables}


def _run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "run", "--out", str(folder), *arguments],
        cwd=_REPOSITORY,
        env=_environment(**variables),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_short_load_is_exact_and_its_report_says_so(stack: LocalStack, tmp_path: Path) -> None:
    found = _run(
        tmp_path, "--profile", "duplicate-heavy", "--rate", "400", "--duration", "5",
        "--customers", "50", "--workers", "1", "--partitions", "3", "--rated", **stack.env(),
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert "LOAD OK events=2000 " in found.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert report["verdict"] == "exact"
    assert report["seed"] == 20_261
    assert figures["events"] == report["samples"][-1]["durable"] == 2_000
    assert 0 < figures["latency p50"] <= figures["latency p99"] <= figures["latency max"]
    assert min(figures["memory worker 1"], figures["CPU worker 1"], figures["CPU sender"]) > 0
    assert report["disk_bytes_per_event"]["usage_events"] > 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 6
    assert "**exact**" in (tmp_path / "report.md").read_text()


def test_a_load_whose_workers_are_killed_is_exact(stack: LocalStack, tmp_path: Path) -> None:
    session = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    found = _run(
        tmp_path, "--rate", "400", "--duration", "15", "--customers", "50", "--workers", "2",
        "--partitions", "4", "--rated", "--kill-every", "2.5",
        **stack.env(), METERLINE_KAFKA_PROPERTIES=json.dumps(session),
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    killed = figures["workers killed"]
    assert (report["verdict"], figures["events"]) == ("exact", 6_000)
    assert killed >= 3
    assert len(list(tmp_path.glob("worker-*.log"))) == 2 + killed, "each one was replaced"


def test_what_was_started_ends_with_a_load_that_is_told_to_end(
    stack: LocalStack, tmp_path: Path
) -> None:
    options = ["--out", str(tmp_path), "--rate", "100", "--duration", "300", "--workers", "1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "loadtest", "run", *options],
        cwd=_REPOSITORY,
        env=_environment(**stack.env()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started: list[psutil.Process] = []
    try:
        assert running.stdout is not None
        line = next((line for line in running.stdout if "durable" in line), "")
        assert line, "it ended before it began"
        started = psutil.Process(running.pid).children(recursive=True)
        names = [word for process in started for word in process.cmdline()]
        assert any(word.endswith("meterline") for word in names), line
        running.terminate()
        running.communicate(timeout=60)
    finally:
        running.kill()
    left = psutil.wait_procs(started, timeout=30)[1]
    for process in left:
        process.kill()
    assert left == []
    assert running.returncode not in {0, -signal.SIGTERM}


def test_a_deployment_that_counts_otherwise_is_found(stack: LocalStack, tmp_path: Path) -> None:
    found = _run(
        tmp_path, "--profile", "late-heavy", "--rate", "200", "--duration", "3",
        "--customers", "20", "--workers", "1", "--partitions", "2",
        **stack.env(), METERLINE_ALLOWED_LATENESS="PT3H",
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    assert "LOAD FAILED events=600 " in found.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert [difference["what"] for difference in report["differences"]] == ["late"]
    assert report["verdict"] == "1 numbers differ"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--rated",), 2, "deployment of our own"),
        (("--kill-every", "2"), 2, "workers that are started here are killed"),
        (("--kill-every", "9", "--workers", "1", "--duration", "5"), 2, "within --duration"),
        (("--profile", "unheard-of"), 2, "expected one of steady"),
        (("--workers", "9", "--partitions", "8"), 2, "at most one worker a partition"),
        (("--rate", "0"), 2, "--rate"),
        (("--namespace", "nobody"), 1, "there is none"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_sentence(
    stack: LocalStack, tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    found = _run(tmp_path, *arguments, **stack.env())
    assert (found.returncode, reason in " ".join((found.stdout + found.stderr).split())) == (
        code, True,
    ), found.stdout + found.stderr  # fmt: skip
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("variable", "address", "said"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "{}", "Kafka: "),
        ("REDIS_URL", "redis://:hidden@{}/0", "Redis: {}: "),
        ("CLICKHOUSE_URL", "http://{}", "ClickHouse: "),
    ],
)
def test_a_server_that_does_not_answer_is_named(
    stack: LocalStack, tmp_path: Path, variable: str, address: str, said: str
) -> None:
    nobody = f"127.0.0.1:{find_free(1)[0]}"
    found = _run(tmp_path, **{**stack.env(), variable: address.format(nobody)})
    assert found.returncode == 75, found.stdout + found.stderr
    assert f"LOAD FAILED: {said.format(nobody)}" in found.stdout
    assert "Traceback" not in found.stderr
    assert "hidden" not in found.stdout + found.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was started"


def test_a_disk_that_is_full_is_not_a_server(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "migrate.log").symlink_to("/dev/full")
    found = _run(tmp_path, "--workers", "1", "--duration", "2", **stack.env())
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"LOAD FAILED: No space left on device (files of this run are in {tmp_path})" in (
        found.stdout
    )
    assert "Traceback" not in found.stderr


def test_a_file_that_cannot_be_written_is_named(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "migrate.log").mkdir()
    found = _run(tmp_path, "--workers", "1", "--duration", "2", **stack.env())
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"LOAD FAILED: {tmp_path / 'migrate.log'}: Is a directory" in found.stdout
    assert "Traceback" not in found.stderr
