"""Threads that tell their CPU time."""

import time

import pytest

from dataflows.stage_threads import StageThread


def _busy(seconds: float) -> float:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass
    return seconds


def test_work_is_measured_by_its_own_cpu_and_not_by_waiting() -> None:
    told: list[tuple[str, float]] = []
    with StageThread("claims", lambda *each: told.append(each)) as thread:
        assert thread.submit(_busy, 0.05).result() == 0.05
        thread.submit(time.sleep, 0.2).result()
    assert [stage for stage, _ in told] == ["claims", "claims"]
    worked, waited = (seconds for _, seconds in told)
    assert worked >= 0.05
    assert waited < worked


def test_work_that_fails_is_measured_as_well() -> None:
    told: list[float] = []

    def fail() -> None:
        _busy(0.02)
        message = "no"
        raise ValueError(message)

    with StageThread("flush", lambda _, seconds: told.append(seconds)) as thread:
        with pytest.raises(ValueError, match="no"):
            thread.submit(fail).result()
        assert told[0] >= 0.02
        assert thread.submit(str, 5).result() == "5"
