"""`python -m loadtest scale` and `outage` as a user starts them, on the stack of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.localstack.ports import find_free
from deploy.localstack.stack import LocalStack

_REPOSITORY = Path(__file__).resolve().parents[2]
#: So that a small load lasts for more than one flush.
_SMALL = {"METERLINE_BATCH_EVENTS_MAX": "200", "METERLINE_FLUSH_ROWS_MAX": "2000"}
#: Python runs a module of this name when it starts: the load says of itself one event too many.
_OTHER_TRUTH = """\
import dataclasses, sys

if "scale" in sys.orig_argv:
    from loadtest.preload import Preload

    told = Preload.outcome

    def wrong(load):
        return dataclasses.replace(told(load), accepted=told(load).accepted + 1)

    Preload.outcome = wrong
"""


def _loadtest(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "METERLINE_NAMESPACE"}
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments, "--out", str(folder)],
        cwd=_REPOSITORY,
        env={**inherited, "PYTHONPATH": str(_REPOSITORY), **_SMALL, **variables},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def _said(found: subprocess.CompletedProcess[str]) -> str:
    return " ".join((found.stdout + found.stderr).replace("│", " ").split())


def test_rows_of_one_and_two_workers_are_exact(stack: LocalStack, tmp_path: Path) -> None:
    found = _loadtest(
        tmp_path, "scale", "--workers", "1,2", "--partitions", "4", "--events", "40000",
        "--seed", "7", **stack.env(),
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert "SCALE OK rows=2 wrong=0 events=80000 seed=7" in found.stdout
    report: dict[str, Any] = json.loads((tmp_path / "scale.json").read_text())
    one, two = report["rows"]
    assert (report["verdict"], report["seed"]) == ("exact", 7)
    assert list(one["took_s"]) == ["stop", "kill"]
    assert list(two["took_s"]) == ["start 2", "stop", "kill"]
    for row in (one, two):
        assert row["whole"]["events"] == 40_000
        assert row["whole"]["workers_cpu_s"] > 0
        assert row["whole"]["servers_cpu_s"] is None
    # Three workers of the first row, four of the second: each left its log.
    assert len(list((tmp_path / "workers-1").glob("worker-*.log"))) == 3
    assert len(list((tmp_path / "workers-2").glob("worker-*.log"))) == 4
    assert one["times_one"] == 1
    assert "| 2 |" in (tmp_path / "scale.md").read_text()


def test_a_giant_customer_is_counted_exactly_by_workers_that_come_and_go(
    stack: LocalStack, tmp_path: Path
) -> None:
    found = _loadtest(
        tmp_path, "scale", "--profile", "one-giant-customer", "--workers", "2", "--partitions",
        "4", "--events", "40000", "--seed", "7", **stack.env(),
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert "one-giant-customer, seed 7;" in found.stdout
    assert "SCALE OK rows=1 wrong=0 events=40000 seed=7" in found.stdout
    report: dict[str, Any] = json.loads((tmp_path / "scale.json").read_text())
    assert (report["profile"], report["verdict"]) == ("one-giant-customer", "exact")
    (row,) = report["rows"]
    # Six of ten are the giant's, and a fourth of the others shares its partition.
    assert row["fullest"] == pytest.approx(0.7, abs=0.02)
    assert f"holds {row['fullest']:.1%} of the events" in (tmp_path / "scale.md").read_text()
    assert list(row["took_s"]) == ["start 2", "stop", "kill"]


def test_a_number_that_differs_is_told(stack: LocalStack, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(_OTHER_TRUTH)
    found = _loadtest(
        tmp_path, "scale", "--workers", "1", "--partitions", "2", "--events", "400",
        **{**stack.env(), "PYTHONPATH": f"{planted}:{_REPOSITORY}"},
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    assert "accepted: expected 401, got 400" in found.stdout
    assert "SCALE FAILED rows=1 wrong=1 events=400 " in found.stdout
    assert json.loads((tmp_path / "scale.json").read_text())["verdict"] == "numbers differ"


def test_a_backlog_and_live_traffic_are_exact_together(stack: LocalStack, tmp_path: Path) -> None:
    found = _loadtest(
        tmp_path, "outage", "--rate", "1000", "--outage", "12", "--live-rate", "300",
        "--partitions", "3", "--patience", "150", "--seed", "7", **stack.env(),
    )  # fmt: skip
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert report["differences"] == [], found.stdout + found.stderr
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert figures["backlog"] == 12_000
    assert figures["live events"] > 0
    assert report["samples"][0]["backlog"] > 0
    assert report["samples"][-1]["backlog"] == 0
    assert report["samples"][-1]["durable"] == figures["live events"]
    # How fast it is depends on the machine, but what is said of it does not.
    is_caught = figures["caught up after"] != "not caught up"
    assert is_caught == (found.returncode == 0) == ("OUTAGE OK" in found.stdout)
    assert is_caught == ("live latency p50 after" in figures)
    events = 12_000 + int(figures["live events"])
    assert f" events={events} " in found.stdout
    assert "seed=7" in found.stdout


def test_workers_that_are_killed_while_they_catch_up_count_exactly(
    stack: LocalStack, tmp_path: Path
) -> None:
    found = _loadtest(
        tmp_path, "outage", "--rate", "3000", "--outage", "20", "--live-rate", "300", "--workers",
        "2", "--partitions", "4", "--patience", "150", "--seed", "31", "--kill-every", "4",
        **stack.env(),
        METERLINE_KAFKA_PROPERTIES='{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}',
        METERLINE_FLUSH_ROWS_MAX="4000",
    )  # fmt: skip
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert report["differences"] == [], found.stdout + found.stderr
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert figures["workers killed"] > 0
    assert figures["backlog"] == 60_000
    assert report["samples"][-1]["backlog"] == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("scale", "--workers", "1,9", "--partitions", "8"), "numbers from 1 to 8"),
        (("scale", "--workers", "two"), "got two"),
        (("scale", "--workers", "2,2"), "different numbers"),
        (
            ("scale", "--profile", "burst"),
            "expected one of steady, many-small-customers, one-giant-customer, got burst",
        ),
        (("outage", "--workers", "9", "--partitions", "8"), "at most one worker a partition"),
        (("outage", "--outage", "0"), "--outage"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_sentence(
    stack: LocalStack, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    found = _loadtest(tmp_path, *arguments, **stack.env())
    assert found.returncode == 2, found.stdout + found.stderr
    assert reason in _said(found)
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", ["scale", "outage"])
@pytest.mark.parametrize(
    ("variable", "address", "said"),
    [
        ("REDIS_URL", "redis://:hidden@{}/0", "Redis: {}: "),
        ("CLICKHOUSE_URL", "http://{}", "ClickHouse: "),
    ],
)
def test_a_server_that_does_not_answer_is_named(
    stack: LocalStack, tmp_path: Path, command: str, variable: str, address: str, said: str
) -> None:
    nobody = f"127.0.0.1:{find_free(1)[0]}"
    found = _loadtest(tmp_path, command, **{**stack.env(), variable: address.format(nobody)})
    assert found.returncode == 75, found.stdout + found.stderr
    assert f"{command.upper()} FAILED: {said.format(nobody)}" in found.stdout
    assert "Traceback" not in found.stderr
    assert "hidden" not in found.stdout + found.stderr
