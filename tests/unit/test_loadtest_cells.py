"""The matrix of faults, how cells of it are asked for, and what is written about them."""

from datetime import UTC, datetime

import pytest

from loadtest.faults.cells import FAULTS, MATRIX, SHORT, STEPS, TARGETS, WORKERS, Cell, chosen
from loadtest.faults.matrix import Result, grid
from loadtest.faults.report import Report


def test_the_matrix_is_every_combination_once() -> None:
    assert len(MATRIX) == len(set(MATRIX)) == 160
    assert {cell.target for cell in MATRIX} == set(TARGETS)
    assert {cell.fault for cell in MATRIX} == set(FAULTS)
    assert {cell.step for cell in MATRIX} == set(STEPS)
    assert {cell.workers for cell in MATRIX} == set(WORKERS)


def test_the_short_matrix_hurts_each_target_once_and_one_of_several_workers() -> None:
    assert set(SHORT) < set(MATRIX)
    assert sorted(cell.target for cell in SHORT) == sorted(TARGETS)
    assert {cell.workers for cell in SHORT} == set(WORKERS)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("redis:wiped:2:1", 1), ("redis:wiped", 8), ("kafka", 40), ("*:kill:*:3", 16), ("*", 160)],
)
def test_a_pattern_asks_for_what_matches(pattern: str, count: int) -> None:
    assert len(chosen([pattern])) == count


def test_patterns_together_ask_for_each_cell_once_in_order() -> None:
    found = chosen(["worker:kill:2", "worker:*:2:1"])
    assert found == [cell for cell in MATRIX if cell in found]
    assert Cell("worker", "kill", 2, 3) in found
    assert len(found) == 6


@pytest.mark.parametrize("pattern", ["disk", "redis:wiped:5", "worker:kill:1:2", "a:b:c:d:e"])
def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is(pattern: str) -> None:
    with pytest.raises(ValueError, match=f"expected target.*got {pattern}"):
        chosen([pattern])


def test_the_grid_has_a_row_for_each_fault_that_was_tried() -> None:
    results = [
        Result("redis:kill:2:3", 7, 100, 1, 12.4, ()),
        Result("worker:slow:1:1", 7, 100, 0, 30.0, ("lost", "twice")),
        Result("worker:slow:4:3", 7, 100, 0, 8.0, ()),
    ]
    head, rule, *rows = grid(results)
    assert head.count("|") == rule.count("|") == 10
    assert rows == [
        "| worker:slow | 2 problems, 30 s | - | - | - | - | - | - | exact, 8 s |",
        "| redis:kill | - | - | - | exact, 12 s | - | - | - | - |",
    ]


@pytest.mark.parametrize(
    ("asked", "is_matrix", "verdict"),
    [
        (2, True, "Seed 7, commit abc1234: **1 of 2 cells exact**."),
        (160, True, "Seed 7, commit abc1234: **1 of 2 cells exact**, 158 not run yet."),
        (2, False, "Seed 7, commit abc1234: **1 of 2 rounds exact**."),
    ],
)
def test_the_page_begins_with_seed_commit_and_how_many_are_exact(
    asked: int, verdict: str, *, is_matrix: bool
) -> None:
    report = Report(
        datetime(2026, 1, 31, 12, tzinfo=UTC), "python -m loadtest faults", seed=7, asked=asked,
        is_matrix=is_matrix, machine={"CPU": "a CPU", "commit": "abc1234"},
    )  # fmt: skip
    results = [
        Result("redis:kill:2:3", 7, 100, 1, 12.4, ()),
        Result("worker:slow:1:1", 7, 100, 0, 30.0, ("lost", "twice")),
    ]
    text = report.page(results)
    assert text.startswith(f"# Faults of 2026-01-31 12:00 UTC\n\n{verdict}\n\n    python -m")
    assert ("| hurt |" in text) == is_matrix
    assert "| redis:kill:2:3 | 7 | 100 | 1 | 12 | exact |" in text
    assert "| worker:slow:1:1 | 7 | 100 | 0 | 30 | 2 problems |" in text
    assert text.endswith("| CPU | a CPU |\n| commit | abc1234 |\n")
