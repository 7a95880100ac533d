"""Jobs of the steward: one that fails is tried again and does not hold up the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cli.steward import recent_months
from cli.stewarding import Job, Steward, delay_s
from metering.errors import DependencyDown
from metering.metrics import StewardMetrics

_EVERY = timedelta(minutes=15)
_PATIENCE_S = 30


def _run_until(steward: Steward, *reached: threading.Event) -> None:
    running = threading.Thread(target=steward.run)
    running.start()
    try:
        assert all(each.wait(_PATIENCE_S) for each in reached)
    finally:
        steward.stop()
        running.join(_PATIENCE_S)
    assert not running.is_alive()


def _raising(error: Exception, then: threading.Event) -> Callable[[], None]:
    calls: list[int] = []

    def run() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise error
        then.set()

    return run


@pytest.mark.parametrize("error", [DependencyDown("ClickHouse is away"), ValueError("a bug")])
def test_a_job_that_fails_is_tried_again_soon_and_the_others_run(error: Exception) -> None:
    again, other = threading.Event(), threading.Event()
    metrics = StewardMetrics()
    steward = Steward(
        [Job("failing", _EVERY, _raising(error, again)), Job("other", _EVERY, other.set)], metrics
    )
    _run_until(steward, other, again)
    value = metrics.registry.get_sample_value
    runs = "meterline_steward_job_runs_total"
    assert value(runs, {"name": "failing", "outcome": "failed"}) == 1
    assert value(runs, {"name": "other", "outcome": "done"}) == 1
    assert value("meterline_steward_job_failing", {"name": "other"}) == 0
    assert value("meterline_steward_job_every_seconds", {"name": "failing"}) == 900
    assert (value("meterline_steward_job_began_timestamp_seconds", {"name": "failing"}) or 0) > 0


def test_a_failing_job_is_named_until_it_ends_well() -> None:
    failed = threading.Event()
    steward: list[Steward] = []

    def run() -> None:
        failed.set()
        message = "ClickHouse is away"
        raise DependencyDown(message)

    steward.append(Steward([Job("late_usage", _EVERY, run)], StewardMetrics()))
    assert steward[0].obstacles() == ["job late_usage has not ended yet"]
    _run_until(steward[0], failed)
    assert steward[0].obstacles() == ["job late_usage failed: ClickHouse is away"]
    assert steward[0].faults() == []


def test_delays_grow_up_to_the_interval() -> None:
    assert [delay_s(_EVERY, failures) for failures in (0, 1, 2, 3, 9, 10, 1000)] == [
        900, 2, 4, 8, 512, 900, 900,
    ]  # fmt: skip


def test_recent_months_go_over_the_turn_of_the_year() -> None:
    assert recent_months(datetime(2026, 1, 31, tzinfo=UTC), 2) == ["2025-11", "2025-12", "2026-01"]
