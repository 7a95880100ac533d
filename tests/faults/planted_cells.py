"""Bugs planted into the workers, and the cell of the fault matrix that each has to turn red.

    python tests/faults/planted_cells.py
    python tests/faults/planted_cells.py --only "early commit"

Each bug is an edit of text in a copy of the packages, which fails where that text is not there any
more. The cells are those of `python -m loadtest faults`, run from the copy, with a module for Redis
that is compiled from the copy. All copies are made first: who edits the packages during a run does
not change it.

Exit codes: 0 every bug is found, by what it does; 1 one is not.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from deploy.localstack.kafka_jars import fetch_jars
from deploy.localstack.redis_module import VARIABLE
from loadtest.machine import describe_machine
from sinks.dedup_form import ClaimForm

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
    """A bug, the cell that finds it, and what the cell's first problem looks like (a pattern).

    `form` is how Redis must keep claims for the bug to be there at all; None: it is in both forms.
    """

    bug: str
    cell: str
    shows: str
    edits: Sequence[Edit]
    form: ClaimForm | None = None


class Found(NamedTuple):
    """What the cell said; `first` is its first problem, or why it says nothing about the bug."""

    planted: Planted
    is_red: bool
    first: str

    @property
    def is_found(self) -> bool:
        """A bug is found by what it does to the numbers; not by a crash."""
        return self.is_red and re.match(self.planted.shows, self.first) is not None


#: The first of the four steps, and not that of rows which go ahead.
_WRITE = (
    "        flush = self._fenced(flush, 1)\n        self._raw(flush)\n"
    "        flush = self._fenced(flush, 2)\n"
)

PLANTED = (
    Planted(
        "owner ignored in the module: a replay is a duplicate", "worker:kill:2:1",
        r"accepted: expected \d+, got \d+",
        [Edit(
            "sinks/dedup_module/commands.c", "        if (statuses[at] < 2) continue;\n",
            "        if (statuses[at] == 1) statuses[at] = 2;\n"
            "        if (statuses[at] < 2) continue;\n",
        )],
        ClaimForm.TABLES,
    ),
    Planted(
        "owner ignored in the script: a replay is a duplicate", "worker:kill:2:1",
        r"accepted: expected \d+, got \d+",
        [Edit(
            "sinks/dedup_claim.lua", "    statuses[count] = '\\1'\n",
            "    statuses[count] = '\\2'\n    other = other + 1\n    owners[other] = owner\n",
        )],
        ClaimForm.HASHES,
    ),
    Planted(
        "additive totals: what is read again is added again", "worker:kill:3:1",
        r".+: expected \S+ in \d+ events, got \S+ in \d+ events",
        [Edit(
            "dataflows/ledger.py", "        if batch.first_offset <= part.absorbed_offset:\n",
            "        if batch.first_offset < 0:\n",
        )],
    ),
    Planted(
        "early commit: watermarks and offsets before the rows", "worker:kill:1:1",
        r"CommandFailed: waited \d+ s in vain for more than [\d,]+ of [\d,]+ events",
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
        r"partition \d+: said to be complete to \d+ at offset \d+",
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
    started_at = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        machine = describe_machine({}, Path(name))
        folders = [Path(name) / str(number) for number, _ in enumerate(wanted, start=1)]
        for each, folder in zip(wanted, folders, strict=True):
            planted_copy(each, folder)
        found = []
        for each, folder in zip(wanted, folders, strict=True):
            found.append(_tried(each, folder, seed=asked.seed))
            say(f"{each.bug}: {_color(found[-1])}. {found[-1].first}")
    for line in page(found, seed=asked.seed, started_at=started_at, machine=machine):
        say(line)
    wrong = [one.planted.bug for one in found if not one.is_found]
    say(f"\nPLANTED {'FAILED ' + '; '.join(wrong) if wrong else 'OK'}")
    sys.exit(bool(wrong))


def planted_copy(planted: Planted, folder: Path) -> Path:
    """The packages with the bug in them. Raises `ValueError` where an edit does not apply."""
    copy = folder / "copy"
    copy_packages(copy)
    for edit in planted.edits:
        plant(copy, edit)
    return copy


def environment_of(planted: Planted, folder: Path) -> dict[str, str]:
    """Python finds the copy in `folder`, and Redis has the form of claims that the bug is in.

    What is compiled for the copy is kept in a folder of its own, empty at first: nothing that was
    compiled before is taken for it, and it is taken for nothing else. Only Kafka's jars are shared.
    """
    cache = folder / "cache"
    cache.mkdir()
    jars = fetch_jars(os.environ)
    (cache / jars.name).symlink_to(jars, target_is_directory=True)
    return {
        **os.environ,
        "PYTHONPATH": str(folder / "copy"),
        "METERLINE_CACHE": str(cache),
        "NUMBA_CACHE_DIR": str(cache),
        VARIABLE: "no" if planted.form is ClaimForm.HASHES else "",
    }


def not_planted(planted: Planted, folder: Path) -> str:
    """Why a cell that ran says nothing about the bug; "" where the bug was there."""
    has_module = any((folder / "cache").glob("redis-module-*.so"))
    if planted.form in {None, ClaimForm.TABLES if has_module else ClaimForm.HASHES}:
        return ""
    return f"not planted: Redis ran {'with' if has_module else 'without'} the module"


def _tried(planted: Planted, folder: Path, *, seed: int) -> Found:
    """What the bug's cell says of the copy that was planted in `folder`.

    Its functions are compiled before: a load does not wait for two minutes until a worker does so.
    """
    environment = environment_of(planted, folder)
    subprocess.run(
        [sys.executable, "-m", "dataflows.precompile"],
        cwd=folder / "copy", env=environment, timeout=_CELL_S, check=True,
    )  # fmt: skip
    ran = subprocess.run(
        [
            sys.executable, "-m", "loadtest", "faults", "--cells", planted.cell,
            "--seed", str(seed), "--out", str(folder / "out"),
        ],
        cwd=folder / "copy",
        env=environment,
        capture_output=True, text=True, timeout=_CELL_S, check=False,
    )  # fmt: skip
    first = first_difference(ran.stdout) or " ".join(ran.stderr[-300:].split())
    return Found(planted, ran.returncode != 0, not_planted(planted, folder) or first)


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


def page(
    found: Sequence[Found], *, seed: int, started_at: datetime, machine: Mapping[str, str]
) -> list[str]:
    """What came of it, and of which code on which machine that is told; Markdown."""
    rows = [
        f"| {one.planted.bug} | {one.planted.cell} | {_color(one)} | {_cell(one.first)} |"
        for one in found
    ]
    return [
        "", "| bug | cell | it is | the first difference |", "| --- | --- | --- | --- |", *rows,
        "", f"Seed {seed}, {started_at:%Y-%m-%d %H:%M} UTC.",
        "", "| machine | |", "| --- | --- |",
        *(f"| {name} | {_cell(text)} |" for name, text in machine.items()),
    ]  # fmt: skip


def say(text: str) -> None:
    """To the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _color(found: Found) -> str:
    return "red" if found.is_red else "green"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
