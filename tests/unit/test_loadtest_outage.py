"""When a lag is back to normal, on planted series, and what live events waited until then."""

from collections.abc import Iterable
from decimal import Decimal

import numpy as np
import pytest

from loadtest.load.latencies import Milliseconds
from loadtest.outage.catch_up import AFTER_S, NORMAL_S, STEADY_S, CatchUp, percentiles_ms
from loadtest.outage.running import together
from loadtest.outcome import Outcome, Total, TotalKey

_RATE = 1_000
_NORMAL = _RATE * NORMAL_S


def _counts(second: int) -> Milliseconds:
    """One event of so many ms for each second so far."""
    return np.array([0, second], dtype=np.int64)


def _heard(lags: Iterable[int], *, patience_s: float = 1_000.0) -> tuple[CatchUp, list[int]]:
    """All lags, a second apart, and the seconds at which live traffic was stopped."""
    stopped: list[int] = []
    second = 0
    found = CatchUp(_RATE, patience_s=patience_s, stop=lambda: stopped.append(second))
    for second, lag in enumerate(lags):
        found.hear(float(second), lag, counts=_counts(second))
    return found, stopped


def test_it_is_the_first_moment_from_which_the_lag_stayed_normal() -> None:
    falling = [max(100_000 - 10_000 * second, 900) for second in range(60)]
    found, stopped = _heard(falling)
    assert found.caught is not None
    assert found.caught.at_s == 10.0
    assert found.caught.during.tolist() == [0, 10]
    assert stopped == [10 + AFTER_S]


def test_a_lag_that_rises_again_was_not_back() -> None:
    lags = [50_000, 900, 900, _NORMAL + 1, 900, 900, 900, 900, 900, 900, 900]
    found, _ = _heard(lags)
    assert found.caught is not None
    assert found.caught.at_s == 4.0


@pytest.mark.parametrize("lag", [_NORMAL + 1, 1_000_000])
def test_a_lag_that_stays_is_given_up_in_time(lag: int) -> None:
    found, stopped = _heard([lag] * 100, patience_s=40.0)
    assert found.caught is None
    assert stopped == [40]


def test_what_is_normal_for_too_short_is_not_back_yet() -> None:
    assert _heard([50_000, *[_NORMAL] * STEADY_S])[0].caught is None
    assert _heard([50_000, *[_NORMAL] * (STEADY_S + 1)])[0].caught is not None


def test_patience_ends_live_traffic_even_right_after_the_catch_up() -> None:
    found, stopped = _heard([900] * 40, patience_s=8.0)
    assert found.caught is not None
    assert stopped == [8]


def test_latencies_after_are_without_those_before() -> None:
    before = np.array([0, 0, 0, 8], dtype=np.int64)
    later = np.array([0, 5, 0, 8, 5], dtype=np.int64)
    assert percentiles_ms(later, before) == {"p50": 1, "p90": 4, "p99": 4, "max": 4}
    assert percentiles_ms(before) == {"p50": 3, "p90": 3, "p99": 3, "max": 3}
    assert before.tolist() == [0, 0, 0, 8]
    assert later.tolist() == [0, 5, 0, 8, 5]


def test_the_truth_of_backlog_and_live_traffic_is_both() -> None:
    one, two = (
        {TotalKey(name, "credits", "{}", 0): Total(Decimal(3), 2)} for name in ("cust-1", "lt-1")
    )
    backlog = Outcome(accepted=5, duplicates=1, totals=one)
    live = Outcome(accepted=7, duplicates=2, late=3, rejected={"x": 4}, totals=two)
    assert together(backlog, live) == Outcome(
        accepted=12, duplicates=3, late=None, rejected={"x": 4}, totals=one | two
    )
