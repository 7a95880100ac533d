"""A soak as a user starts it, with a worker that leaks: the numbers are right, and it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from deploy.localstack.stack import LocalStack

_REPOSITORY = Path(__file__).resolve().parents[2]
#: Python runs a module of this name when it starts; workers are told by their arguments.
_LEAK = """\
import sys, threading, time

if "--catalog" in sys.orig_argv:
    kept = []

    def leak():
        while True:
            time.sleep(0.1)
            kept.append((b"x" * 2**19, open("/dev/null")))

    threading.Thread(target=leak, daemon=True).start()
"""


def _soak(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "METERLINE_NAMESPACE"}
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "run", "--soak", "--out", str(folder), *arguments],
        cwd=_REPOSITORY,
        env={**inherited, "PYTHONPATH": str(_REPOSITORY), **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_worker_that_leaks_is_told_though_every_number_is_right(
    stack: LocalStack, tmp_path: Path
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(_LEAK)
    found = _soak(
        tmp_path / "out", "--rate", "200", "--duration", "24", "--customers", "40",
        "--workers", "1", "--partitions", "2",
        **{**stack.env(), "PYTHONPATH": f"{planted}:{_REPOSITORY}"},
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    assert "LOAD FAILED events=4800 " in found.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["differences"] == []
    growth = {each["name"]: each for each in report["growth"]}
    assert list(growth) == ["lag", "memory worker 1", "open files worker 1", "threads worker 1"]
    for name in ("memory worker 1", "open files worker 1"):
        assert growth[name]["verdict"] == "grew"
        assert growth[name]["rise"] > growth[name]["allowed"] > 0
        assert name in report["verdict"]
    assert "| memory worker 1 |" in (tmp_path / "out" / "report.md").read_text()
    assert all(sample["threads"]["worker 1"] > 1 for sample in report["samples"])


def test_what_is_too_short_or_not_ours_to_watch_is_refused(
    stack: LocalStack, tmp_path: Path
) -> None:
    for arguments in (("--duration", "5"), ("--duration", "30", "--workers", "0")):
        found = _soak(tmp_path, *arguments, **stack.env())
        assert found.returncode == 2, found.stdout + found.stderr
        assert "a soak watches workers" in " ".join(found.stderr.split())
