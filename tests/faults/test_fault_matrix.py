"""`python -m loadtest faults` as a user starts it: cells and kills, each on a stack of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
#: Python runs a module of this name when it starts: a worker that is to kill itself crashes.
_CRASH = """\
import os, sys

if "METERLINE_KILL_BEFORE_STEP" in os.environ and "run" in sys.orig_argv:
    print("a crash that was planted", flush=True)
    os._exit(70)
"""


def _faults(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "faults", "--out", str(folder), *arguments],
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY), **variables},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def test_short_cells_are_exact_and_stand_in_the_table(tmp_path: Path) -> None:
    found = _faults(tmp_path, "--short", "--seed", "7")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAULTS OK cells=4 wrong=0 events=28000 kills=3 seed=7" in found.stdout
    table = (tmp_path / "faults.md").read_text()
    kills = {
        "worker:kill:2:3": 1, "redis:wiped:1:1": 1, "clickhouse:kill:2:1": 1,
        "kafka:restart:4:1": 0,
    }  # fmt: skip
    for name, count in kills.items():
        assert f"| {name} | 7 | 7,000 | {count} |" in table


def test_what_is_no_cell_is_refused(tmp_path: Path) -> None:
    found = _faults(tmp_path, "--cells", "disk:full")
    assert found.returncode == 2
    assert "got disk:full" in " ".join(found.stderr.replace("│", " ").split())


def test_a_worker_that_crashes_among_those_that_are_killed_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(_CRASH)
    found = _faults(
        tmp_path, "--kills", "4", "--seed", "7", PYTHONPATH=f"{planted}:{_REPOSITORY}"
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    assert " ended by itself with 70 (" in found.stdout
    assert "a crash that was planted" in found.stdout
    assert "FAULTS FAILED cells=1 wrong=1 " in found.stdout


def test_workers_that_are_killed_are_exact(tmp_path: Path) -> None:
    found = _faults(tmp_path, "--kills", "4", "--seed", "7")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAULTS OK cells=1 wrong=0 events=8000 kills=4 seed=7" in found.stdout
