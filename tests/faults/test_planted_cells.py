"""The bugs that are planted for the fault matrix: they are there, and one of them is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from planted_cells import (
    PLANTED,
    Edit,
    Found,
    Planted,
    copy_packages,
    environment_of,
    first_difference,
    not_planted,
    page,
    plant,
    planted_copy,
)

from deploy.localstack.redis_module import VARIABLE, compiled_module
from loadtest.faults.cells import MATRIX
from sinks.dedup_form import ClaimForm

_REPOSITORY = Path(__file__).resolve().parents[2]
_COMPILED = (
    "import os; from deploy.localstack.redis_module import compiled_module;"
    " print(compiled_module(os.environ))"
)
_IN_MODULE, _IN_SCRIPT = (
    next(each for each in PLANTED if each.form is form)
    for form in (ClaimForm.TABLES, ClaimForm.HASHES)
)


def test_every_edit_applies_and_leaves_sound_python(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    for planted in PLANTED:
        for edit in planted.edits:
            before = (tmp_path / edit.path).read_text()
            plant(tmp_path, edit)
            after = (tmp_path / edit.path).read_text()
            assert after != before
            if edit.path.endswith(".py"):
                compile(after, edit.path, "exec")
            (tmp_path / edit.path).write_text(before)


def test_every_bug_names_a_cell_of_the_matrix() -> None:
    assert {planted.cell for planted in PLANTED} <= {cell.name for cell in MATRIX}


def test_a_text_that_is_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="expected once, got 0 times"):
        plant(tmp_path, Edit("a.py", "y = 1", "y = 2"))


def test_the_first_difference_is_read_from_what_a_cell_prints() -> None:
    printed = "seed 7\nworker:kill:2:1  seed 7  5 s  1 problems\n    accepted: expected 2, got 1\n"
    assert first_difference(printed) == "accepted: expected 2, got 1"
    assert first_difference("seed 7\n") == ""


@pytest.mark.parametrize(
    ("first", "is_found"),
    [
        ("accepted: expected 6380, got 5274", True),
        ("late: expected 2, got 1", False),
        ("CommandFailed: expected the servers at {}, they are at {}", False),
        ("not planted: Redis ran without the module", False),
        ("", False),
    ],
)
def test_a_bug_is_found_by_what_it_does_alone(first: str, *, is_found: bool) -> None:
    assert Found(_IN_MODULE, is_red=True, first=first).is_found is is_found
    assert not Found(_IN_MODULE, is_red=False, first=first).is_found


def _compiled(planted: Planted, folder: Path) -> str:
    """The module's file, as the local stack of the copy in `folder` says."""
    return subprocess.run(
        [sys.executable, "-c", _COMPILED],
        cwd=planted_copy(planted, folder),
        env=environment_of(planted, folder),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.skipif(shutil.which("cc") is None, reason="without a C compiler there is no module")
def test_a_module_with_a_bug_is_compiled_and_nobody_elses(tmp_path: Path) -> None:
    found = Path(_compiled(_IN_MODULE, tmp_path))
    assert found.parent == tmp_path / "cache"
    assert found.is_file()
    sound = compiled_module({**os.environ, VARIABLE: ""})
    assert sound is not None
    assert found.name != sound.name
    assert found.read_bytes() != sound.read_bytes()
    assert not_planted(_IN_MODULE, tmp_path) == ""
    assert not_planted(_IN_SCRIPT, tmp_path) == "not planted: Redis ran with the module"


def test_a_script_with_a_bug_is_not_hidden_by_the_module(tmp_path: Path) -> None:
    assert _compiled(_IN_SCRIPT, tmp_path) == "None"
    assert not_planted(_IN_SCRIPT, tmp_path) == ""
    assert not_planted(_IN_MODULE, tmp_path) == "not planted: Redis ran without the module"


def test_the_page_says_of_which_code_and_machine_it_is() -> None:
    found = Found(_IN_MODULE, is_red=True, first="accepted: expected 2, got 1 | 0")
    text = page(
        [found], seed=7, started_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        machine={"CPU": "of wood", "commit": "abc with 2 files changed"},
    )  # fmt: skip
    row = f"| {_IN_MODULE.bug} | worker:kill:2:1 | red | accepted: expected 2, got 1 \\| 0 |"
    assert text[3:] == [
        row, "", "Seed 7, 2026-01-02 03:04 UTC.", "",
        "| machine | |", "| --- | --- |",
        "| CPU | of wood |", "| commit | abc with 2 files changed |",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("cc") is None, reason="without a C compiler there is no module")
def test_a_bug_that_is_planted_into_the_module_turns_its_cell_red() -> None:
    ran = subprocess.run(
        [sys.executable, "tests/faults/planted_cells.py", "--only", _IN_MODULE.bug],
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    row = rf"\| {_IN_MODULE.bug} \| {_IN_MODULE.cell} \| red \| accepted: expected (\d+), got (\d+)"
    told = re.search(row, ran.stdout)
    assert told is not None, ran.stdout
    assert int(told[2]) < int(told[1]), "what is read again is taken for a copy"
    assert "PLANTED OK" in ran.stdout
