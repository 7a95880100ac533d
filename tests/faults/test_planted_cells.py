"""The bugs that are planted for the fault matrix: their texts are still what is to be edited."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_cells import PLANTED, Edit, copy_packages, first_difference, plant

from loadtest.faults.cells import MATRIX


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
