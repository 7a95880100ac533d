"""The schedule is fixed beforehand, and every event's latency is counted from it."""

from random import Random

import numpy as np
import pytest

from loadtest.load.latencies import Latencies, percentile
from loadtest.load.profiles import Bursts
from loadtest.load.schedule import TICKS_PER_S, Schedule


@pytest.mark.parametrize("bursts", [None, Bursts(), Bursts(every_s=4, for_s=1, peak=2.5)])
@pytest.mark.parametrize(("rate", "seconds"), [(1, 3), (37, 40), (60_000, 20)])
def test_a_schedule_holds_exactly_its_events(
    rate: int, seconds: int, bursts: Bursts | None
) -> None:
    schedule = Schedule(rate, seconds, bursts)
    assert len(schedule.ends) == seconds * TICKS_PER_S
    assert schedule.ends[-1] == schedule.events == rate * seconds
    assert (np.diff(schedule.ends) >= 0).all()


def test_an_even_schedule_is_never_an_event_off() -> None:
    schedule = Schedule(333, 10)
    for tick, end in enumerate(schedule.ends.tolist(), start=1):
        assert end == 333 * tick // TICKS_PER_S


def test_a_burst_is_as_high_as_it_says_and_the_mean_is_kept() -> None:
    schedule = Schedule(1_000, 20, Bursts(every_s=10, for_s=2, peak=3.0))
    by_second = np.diff(schedule.ends[TICKS_PER_S - 1 :: TICKS_PER_S], prepend=0)
    assert by_second.tolist() == ([500] * 8 + [3000] * 2) * 2


def test_due_is_what_should_have_been_sent_by_then() -> None:
    schedule = Schedule(100, 10)
    assert [schedule.due_by(at) for at in (-1.0, 0.0, 0.995, 5.0, 60.0)] == [0, 1, 100, 501, 1000]


def test_chunks_cover_every_tick_once() -> None:
    for rate in (3, 700, 90_000):
        schedule = Schedule(rate, 7, Bursts(every_s=3, for_s=1, peak=2.0))
        chunks = schedule.chunks(4_000, 50)
        assert [tick for first, last in chunks for tick in range(first, last)] == list(range(700))


def test_latency_is_from_the_schedule_to_when_it_was_seen() -> None:
    latencies = Latencies(began_s=100.0, ends={0: 50, 1: 0})
    latencies.place(np.array([0, 1, 0, 0], np.int32), np.array([0, 0, 1, 200], np.int32))
    assert latencies.observe({0: 50, 1: 0}, 100.5).tolist() == []
    assert sorted(latencies.observe({0: 52, 1: 1}, 101.0).tolist()) == [990, 1000, 1000]
    # Sent late or not: it was due at 102 s.
    assert latencies.observe({0: 53, 1: 1}, 104.0).tolist() == [2000]
    assert latencies.durable == 4
    assert [latencies.percentile_ms(share) for share in (0.25, 0.5, 0.75, 1.0)] == [
        990, 1000, 1000, 2000,
    ]  # fmt: skip


def test_a_stall_shows_in_every_event_that_it_held_up() -> None:
    """A thousand a second for ten seconds, seen at once but for a stall of the last two."""
    latencies = Latencies(0.0, {0: 0})
    ticks = np.repeat(np.arange(1_000, dtype=np.int32), 10)
    latencies.place(np.zeros(10_000, np.int32), ticks)
    for second in range(1, 9):
        for tick in range(100):
            at = second - 1 + tick / 100
            latencies.observe({0: int(at * 1000) + 10}, at)
    latencies.observe({0: 10_000}, 10.0)
    assert latencies.durable == 10_000
    assert latencies.percentile_ms(0.5) == 0
    assert latencies.percentile_ms(0.9) == pytest.approx(1_000, abs=20)
    assert latencies.percentile_ms(1.0) == pytest.approx(2_000, abs=20)


def test_what_is_durable_before_it_was_told_of_is_counted_once() -> None:
    latencies = Latencies(0.0, {})
    assert latencies.observe({0: 2}, 1.0).tolist() == []
    latencies.place(np.zeros(3, np.int32), np.zeros(3, np.int32))
    assert latencies.observe({0: 2}, 2.0).tolist() == [2000, 2000]
    assert latencies.observe({0: 3}, 3.0).tolist() == [3000]


def test_percentiles_are_by_nearest_rank() -> None:
    random = Random(1)
    for count in (1, 2, 99, 1_000):
        values = [random.randrange(5_000) for _ in range(count)]
        ordered = sorted(values)
        for share in (0.0, 0.5, 0.99, 0.999, 1.0):
            rank = max(int(np.ceil(share * count)), 1)
            assert percentile(np.array(values), share) == ordered[rank - 1]
    assert percentile(np.empty(0, np.int64), 0.5) == 0
