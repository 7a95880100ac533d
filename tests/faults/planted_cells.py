"""Bugs planted into the workers, and the cell of the fault matrix that each has to turn red.

    python tests/faults/planted_cells.py
    python tests/faults/planted_cells.py --only "early commit"

Each bug is an edit of text in a copy of the packages, which fails where that text is not there any
more. The cells are those of `python -m loadtest faults`, run from the copy.

Exit codes: 0 every bug is found; 1 one is not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_REPOSITORY = Path(__file__).resolve().parents[2]
_SEED = 20_262
_CELL_S = 900
_NOW_MS = '__import__("time").time_ns() // 1_000_000'


class Edit(NamedTuple):
    """`old` stands in the file once, and becomes `new`."""

    path: str
    old: str
    new: str


class Planted(NamedTuple):
    """A bug, and the cell that finds it."""

    bug: str
    cell: str
    edits: Sequence[Edit]


class Found(NamedTuple):
    """What the cell said; `first` is its first difference."""

    planted: Planted
    is_red: bool
    first: str

    @property
    def is_found(self) -> bool:
        """A bug is found by what is wrong, or by events that never arrive; not by a crash."""
        signs = (": expected", ": said to be complete", "in vain for more")
        return self.is_red and any(sign in self.first for sign in signs)


#: The first of the four steps, and not that of rows which go ahead.
_WRITE = (
    "        flush = self._fenced(flush, 1)\n        self._raw(flush)\n"
    "        flush = self._fenced(flush, 2)\n"
)

PLANTED = (
    Planted(
        "owner ignored: a replay is a duplicate", "worker:kill:2:1",
        [Edit(
            "sinks/dedup_claim.lua", "    statuses[count] = '\\1'\n",
            "    statuses[count] = '\\2'\n    other = other + 1\n    owners[other] = owner\n",
        )],
    ),
    Planted(
        "additive totals: what is read again is added again", "worker:kill:3:1",
        [Edit(
            "dataflows/ledger.py", "        if batch.first_offset <= part.absorbed_offset:\n",
            "        if batch.first_offset < 0:\n",
        )],
    ),
    Planted(
        "early commit: watermarks and offsets before the rows", "worker:kill:1:1",
        [Edit(
            "sinks/usage_sink.py", _WRITE,
            '        self._insert("watermarks", rows.watermark_rows(flush))\n'
            "        self._committer.commit("
            "{part.source: part.next_offset for part in flush.parts})\n"
            f"{_WRITE}",
        )],
    ),
    Planted(
        "watermark from wall clock", "worker:kill:2:1",
        [Edit("dataflows/watermark.py", "int(seen_ms) - self._lateness_ms)", f"{_NOW_MS})")],
    ),
)  # fmt: skip


def main() -> None:
    """Run what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--only", action="append", help="beginning of a bug's name; repeatable")
    parser.add_argument("--seed", type=int, default=_SEED)
    asked = parser.parse_args()
    wanted = [
        each
        for each in PLANTED
        if not asked.only or any(each.bug.startswith(name) for name in asked.only)
    ]
    if not wanted:
        parser.error(f"expected one of {', '.join(each.bug for each in PLANTED)}")
    found = []
    for each in wanted:
        found.append(_tried(each, seed=asked.seed))
        say(f"{each.bug}: {'red' if found[-1].is_red else 'green'}. {found[-1].first}")
    say(f"\nseed {asked.seed}\n\n| bug | cell | it is | the first difference |")
    say("| --- | --- | --- | --- |")
    for one in found:
        color = "red" if one.is_red else "green"
        say(f"| {one.planted.bug} | {one.planted.cell} | {color} | {one.first} |")
    wrong = [one.planted.bug for one in found if not one.is_found]
    say(f"\nPLANTED {'FAILED ' + '; '.join(wrong) if wrong else 'OK'}")
    sys.exit(bool(wrong))


def _tried(planted: Planted, *, seed: int) -> Found:
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        copy = Path(name) / "copy"
        copy_packages(copy)
        for edit in planted.edits:
            plant(copy, edit)
        out = Path(name) / "out"
        ran = subprocess.run(
            [
                sys.executable, "-m", "loadtest", "faults", "--cells", planted.cell,
                "--seed", str(seed), "--out", str(out),
            ],
            cwd=copy,
            env={**os.environ, **_paths(copy)},
            capture_output=True, text=True, timeout=_CELL_S, check=False,
        )  # fmt: skip
        return Found(
            planted, ran.returncode != 0, first_difference(ran.stdout) or ran.stderr[-300:]
        )


def copy_packages(folder: Path) -> None:
    """What a worker and the load test consist of."""
    for path in sorted(_REPOSITORY.glob("*/__init__.py")):
        package = path.parent
        shutil.copytree(
            package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    shutil.copytree(_REPOSITORY / "catalog", folder / "catalog", dirs_exist_ok=True)


def plant(folder: Path, edit: Edit) -> None:
    """Apply an edit. Raises `ValueError` unless its text stands there exactly once."""
    path = folder / edit.path
    text = path.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        msg = f"{edit.path}: expected once, got {text.count(edit.old)} times: {edit.old!r}"
        raise ValueError(msg)
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def first_difference(output: str) -> str:
    """The first problem that a cell names; "" where there is none."""
    lines = output.splitlines()
    return next((line.strip() for line in lines if line.startswith("    ")), "")


def say(text: str) -> None:
    """To the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _paths(copy: Path) -> dict[str, str]:
    """Python finds the copy, and Kafka's jars are those of this checkout."""
    cache = os.environ.get("METERLINE_CACHE") or str(_REPOSITORY / ".meterline" / "cache")
    return {"PYTHONPATH": str(copy), "METERLINE_CACHE": cache}


if __name__ == "__main__":
    main()
