"""Speed by workers, and what the cores allowed, on figures worked by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtest.load.profiles import PROFILES
from loadtest.oracle import Difference
from loadtest.processes import CpuReading
from loadtest.scaling.report import Scaled
from loadtest.scaling.rows import Row
from loadtest.scaling.stretch import Look, Stretch, stretch

_SERVERS = {"kafka": 1, "redis": 2}


def _stretch(speed: int, *, workers: float, servers: float | None, others: float = 0.0) -> Stretch:
    """Of 10 s; CPU by cores."""
    servers_s = None if servers is None else 10 * servers
    return Stretch(10 * speed, 10.0, 10 * workers, servers_s, 10 * others)


def _row(count: int, steady: Stretch | None, *, whole: int = 50_000, **more: object) -> Row:
    fields: dict[str, object] = {"idle": [], "differences": [], "fullest": 0.125, **more}
    return Row(
        workers=count, events=1_000, filled_per_s=1.0,
        whole=_stretch(whole, workers=1, servers=0.5), steady=steady, took_s={"stop": 4.0},
        **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def _scaled(*rows: Row, profile: str = "steady") -> Scaled:
    return Scaled(
        started_at=datetime(2026, 3, 4, tzinfo=UTC), command="python -m loadtest scale",
        profile=PROFILES[profile], seed=7, cores=2, machine={"cores": "2"}, rows=list(rows),
    )  # fmt: skip


def test_a_stretch_is_what_came_between_two_looks() -> None:
    first = Look(1_000, CpuReading(10.0, {"worker 1": 1.0, "kafka": 5.0}, {}, 7.0))
    used = {"worker 1": 3.0, "worker 2": 1.0, "kafka": 6.0, "redis": 0.5}
    last = Look(9_000, CpuReading(14.0, used, {}, 13.0))
    found = stretch(first, last, servers=_SERVERS)
    assert found == Stretch(8_000, 4.0, 3.0, 1.5, 1.5)
    assert (found.speed, found.workers_us, found.servers_us) == (2_000, 375.0, 187.5)
    assert found.cores_used() == {"workers": 0.75, "servers": 0.375, "others": 0.375}


def test_servers_that_are_not_ours_cost_nobody_knows_what() -> None:
    look = Look(0, CpuReading(0.0, {}, {}, 0.0))
    found = stretch(look, Look(10, CpuReading(1.0, {"worker 1": 1.0}, {}, 1.0)), servers={})
    assert (found.servers_us, found.allowed_speed(2)) == (None, None)


def test_cores_allow_what_they_have_left_at_the_cost_of_an_event() -> None:
    # 10 us an event on two cores, a half of one taken by other programs.
    found = _stretch(100_000, workers=0.8, servers=0.2, others=0.5)
    assert found.allowed_speed(2) == pytest.approx(150_000)


def test_two_workers_are_held_against_twice_one_or_what_the_cores_allow() -> None:
    one = _row(1, _stretch(80_000, workers=0.6, servers=0.2))
    far = _row(2, _stretch(120_000, workers=0.9, servers=0.3))
    full = _row(2, _stretch(150_000, workers=1.5, servers=0.5))
    scaled = _scaled(one, far, full)
    # 10 us an event: two cores allow 200 000, and twice one worker is less.
    assert scaled.possible_speed(far) == pytest.approx(160_000)
    # 13.3 us an event: the cores are full.
    assert scaled.possible_speed(full) == pytest.approx(150_000)
    speeds = [line for line in scaled.tables() if line.startswith("| 2 |")][:2]
    assert speeds == [
        "| 2 | 50,000 | 1 | 120,000 | 1.5 | 200,000 | 0.75 | exact |",
        "| 2 | 50,000 | 1 | 150,000 | 1.88 | 150,000 | 1 | exact |",
    ]


def test_without_an_undisturbed_part_nothing_is_held_against_the_cores() -> None:
    scaled = _scaled(
        _row(1, _stretch(80_000, workers=0.6, servers=0.2)), _row(2, None, idle=["stop", "kill"])
    )
    tables = scaled.tables()
    assert "| 2 | 50,000 | 1 | - | - | - | - | exact |" in tables
    assert any("no undisturbed part" in line for line in tables)
    assert any("durable before these were over: stop, kill" in line for line in tables)


def test_the_report_says_whose_events_they_were_and_how_full_a_giant_makes_a_partition(
    tmp_path: Path,
) -> None:
    _scaled(_row(2, None, fullest=0.6125), profile="one-giant-customer").save(tmp_path)
    page = (tmp_path / "scale.md").read_text()
    assert "Profile one-giant-customer, seed 7, 2 cores" in page
    assert "The fullest partition holds 61.3% of the events" in page
    document = json.loads((tmp_path / "scale.json").read_text())
    assert (document["profile"], document["rows"][0]["fullest"]) == ("one-giant-customer", 0.6125)
    assert not any("fullest" in line for line in _scaled(_row(1, None)).tables())


def test_one_wrong_number_of_one_row_makes_all_of_it_wrong(tmp_path: Path) -> None:
    wrong = _row(2, None, differences=[Difference("accepted", "7", "6")])
    right = _row(1, None)
    assert _scaled(right).is_right
    scaled = _scaled(right, wrong)
    assert not scaled.is_right
    scaled.save(tmp_path)
    assert json.loads((tmp_path / "scale.json").read_text())["verdict"] == "numbers differ"
    assert "2 workers: accepted: expected 7, got 6" in (tmp_path / "scale.md").read_text()
