"""Commands that the load test runs: one that takes too long, and workers that end by themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.faults.cells import Cell
from loadtest.faults.hurt_servers import HurtServers
from loadtest.faults.hurt_worker import HurtWorker
from loadtest.faults.matrix import Matrix
from loadtest.meterline import CommandFailed, CommandTimedOut, Meterline
from loadtest.servers import servers

_REPOSITORY = Path(__file__).resolve().parents[2]
#: Python runs a module of this name when it starts: the command says a word, and ends like that.
_PLANTED = """\
import os, signal, sys, time

how = os.environ.get("PLANTED")
if how:
    print("half way", file=sys.stderr, flush=True)
if how == "SIGKILL":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "never":
    time.sleep(300)
    os._exit(1)
if how:
    os._exit(int(how))
"""
_ENOUGH_S = 60.0


@pytest.fixture
def planted(tmp_path: Path) -> str:
    """`PYTHONPATH` of a command that ends as `PLANTED` says."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_PLANTED)
    return f"{folder}{os.pathsep}{_REPOSITORY}"


def test_a_command_that_takes_too_long_has_failed(tmp_path: Path, planted: str) -> None:
    meterline = Meterline(tmp_path, {"PYTHONPATH": planted, "PLANTED": "never"})
    with pytest.raises(CommandFailed) as raised:
        meterline.run("verify", "--repair", timeout_s=2)
    assert str(raised.value) == "`meterline verify --repair` did not end within 2 s:\nhalf way"
    assert (tmp_path / "verify---repair.log").read_text() == "half way\n"


def test_a_stack_that_does_not_say_whether_it_is_up_is_left_alone(
    tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", planted)
    monkeypatch.setenv("PLANTED", "never")
    monkeypatch.setattr("loadtest.servers._STATUS_S", 2)
    monkeypatch.setattr("loadtest.servers._UP_S", 2)
    with (
        pytest.raises(CommandTimedOut, match="stack status"),
        servers(tmp_path, keep=False, given={}),
    ):
        pass
    assert [path.name for path in tmp_path.glob("*.log")] == ["stack-status.log"]


def test_a_stack_that_takes_too_long_is_a_problem_of_each_cell(
    tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", planted)
    monkeypatch.setenv("PLANTED", "never")
    monkeypatch.setattr("loadtest.faults.hurt_servers._UP_S", 2)
    cells = [Cell("worker", "kill", 2, 1), Cell("redis", "wiped", 1, 1)]
    found = list(Matrix(HurtServers(tmp_path / "stack"), tmp_path, seed=7).run(cells))
    assert [result.name for result in found] == [cell.name for cell in cells]
    for result in found:
        (problem,) = result.problems
        assert "`meterline stack up` did not end within 2 s:\nhalf way" in problem


@pytest.mark.parametrize("code", [1, 70, 75, 0])
def test_a_worker_that_ends_by_itself_has_crashed(tmp_path: Path, planted: str, code: int) -> None:
    worker = HurtWorker(_meterline(tmp_path, planted), "worker", PLANTED=str(code))
    assert worker.wait_end(_ENOUGH_S) == code
    assert f"ended by itself with {code} " in worker.crash
    assert worker.crash.endswith("worker.log):\nhalf way")
    worker.ask_to_stop()
    assert worker.crash, "it had ended before"


def test_a_worker_that_kills_itself_has_not_crashed(tmp_path: Path, planted: str) -> None:
    worker = HurtWorker(_meterline(tmp_path, planted), "worker", PLANTED="SIGKILL")
    assert worker.wait_end(_ENOUGH_S) == -9
    assert worker.crash == ""


@pytest.mark.parametrize("end", [HurtWorker.kill, HurtWorker.ask_to_stop])
def test_a_worker_that_is_told_to_end_has_not_crashed(
    tmp_path: Path, planted: str, end: Callable[[HurtWorker], None]
) -> None:
    worker = HurtWorker(_meterline(tmp_path, planted), "worker", PLANTED="never")
    deadline = time.monotonic() + _ENOUGH_S
    while not worker.said and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (worker.code, worker.crash) == (None, "")
    end(worker)
    assert worker.wait_end(_ENOUGH_S) is not None
    assert worker.crash == ""


def _meterline(folder: Path, planted: str) -> Meterline:
    return Meterline(folder, {"PYTHONPATH": planted})
