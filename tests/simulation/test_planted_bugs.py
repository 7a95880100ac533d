"""A simulator that finds nothing proves nothing: every broken rule turns some seed red."""

import sys

import pytest
from simulator.run import run_seed
from simulator.sweep import first_red

SEEDS_MAX = 500

#: The bug, and the kind of runs in which it shows (None: all kinds).
BUGS = [
    ("mark_without_owner", None),
    ("additive_upsert", None),
    ("commit_before_write", None),
    ("torn_totals", None),
    ("claim_before_absorbed", "twins"),
    ("no_fence_on_claims", "restarts"),
    ("in_flight_kept", "twins"),
    ("totals_before_raw", None),
    ("old_claims_kept", "generations"),
    ("history_asked_too_early", "generations"),
    ("windows_forgotten_in_use", "windows"),
    ("begun_taken_for_stored", "windows"),
    ("back_to_stored", "windows"),
    ("absorbed_read_once", "zombies"),
    ("windows_ahead_of_unit", "ahead"),
    ("ahead_of_forgotten_units", "ahead"),
    ("ahead_of_forgotten_windows", "ahead"),
    ("ahead_of_assignment", "ahead"),
    ("units_after_windows", "ahead"),
]


@pytest.mark.parametrize(("bug", "theme"), BUGS, ids=[bug for bug, _ in BUGS])
def test_a_planted_bug_turns_a_seed_red(
    bug: str, theme: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = first_red(bug, theme=theme, seeds=range(SEEDS_MAX))
    assert found is not None, f"{bug}: {SEEDS_MAX} seeds are green"
    seed, problem = found
    with capsys.disabled():
        sys.stdout.write(f"\n  {bug}: seed {seed} is red: {problem[:100]}\n")
    result = run_seed(seed, theme=theme)
    assert not result.problems, "the same seed is green without the bug"
