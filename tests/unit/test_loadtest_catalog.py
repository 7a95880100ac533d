"""The catalog folder of a load says what the generator's truth relies on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from loadtest.catalog import write_catalog
from loadtest.population import Population, retired_subject, workspace

_STARTED = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)


def _entries(folder: Path, name: str) -> list[dict[str, Any]]:
    content = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content[name]
    return found


def test_every_bound_workspace_belongs_to_its_customer_since_a_day_at_least(
    tmp_path: Path,
) -> None:
    population = Population(200)
    write_catalog(tmp_path, population, _STARTED)
    now = {
        entry["subject"]: entry["customer_id"]
        for entry in _entries(tmp_path, "bindings")
        if "until" not in entry
    }
    assert now == population.bindings
    assert now[workspace(96)] == population.names[96]  # quotes, backslash, non-ASCII


def test_some_workspaces_had_a_former_owner_until_a_day_before(tmp_path: Path) -> None:
    write_catalog(tmp_path, Population(200), _STARTED)
    former = [entry for entry in _entries(tmp_path, "bindings") if "until" in entry]
    assert len(former) == 10
    assert {entry["until"] for entry in former} == {"2026-03-03T10:30:00+00:00"}


def test_suppressed_and_disregarded_subjects_are_listed(tmp_path: Path) -> None:
    write_catalog(tmp_path, Population(2), _STARTED)
    [rule] = _entries(tmp_path, "suppressions")
    assert rule["match"] == {"subject": "test-*"}
    retired = {entry["subject"] for entry in _entries(tmp_path, "disregarded")}
    assert {retired_subject(number) for number in range(1_000)} == retired
