"""What grows over a soak is told, and what is only noisy is not."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest

from loadtest.load.growth import Growth, fit_trend, judge_growth
from loadtest.load.schedule import Schedule
from loadtest.load.watching import Sample

_RATE, _SECONDS = 1_000, 1_800
_MIB = 2**20
_WORKER, _SERVER = "worker 1", "redis"

Series = Callable[[float], float]


def _flat(level: float) -> Series:
    return lambda _at: level


def _rising(level: float, per_s: float) -> Series:
    return lambda at: level + per_s * at


def _noisy(series: Series, size: float, *, peaks: bool = False) -> Series:
    random = Random(3)

    def noisy(at: float) -> float:
        peak = 20 * size if peaks and random.random() < 0.05 else 0.0
        return series(at) + random.uniform(-size, size) + peak

    return noisy


def _warming_up(level: float) -> Series:
    """Rises fast in the first half of the run, and not at all in the second."""
    return lambda at: level * min(at / (_SECONDS / 2), 1.0)


_USUAL = {"memory": _flat(400), "handles": _flat(60), "threads": _flat(20), "lag": _flat(300)}


def _samples(planted: Mapping[str, Series], *, seconds: int = _SECONDS) -> list[Sample]:
    schedule, series = Schedule(_RATE, seconds), {**_USUAL, **planted}
    found = []
    for at in range(1, seconds + 3):
        due = schedule.due_by(at)
        waiting = max(int(series["lag"](at)), 0) if at <= seconds else 0
        held = int(series["memory"](at) * _MIB)
        opened, running = int(series["handles"](at)), int(series["threads"](at))
        found.append(
            Sample(
                at_s=float(at), due=due, sent=due, durable=max(due - waiting, 0), p50_ms=300,
                p99_ms=800, max_ms=900, behind_ms=0.0,
                memory={_WORKER: held, _SERVER: held, "sender": 100 * at * _MIB},
                handles={_WORKER: opened, _SERVER: opened, "sender": at},
                threads={_WORKER: running, _SERVER: running, "sender": at},
            )
        )  # fmt: skip
    return found


def _judged(samples: Sequence[Sample], seconds: int = _SECONDS) -> dict[str, Growth]:
    return {each.name: each for each in judge_growth(samples, Schedule(_RATE, seconds))}


def _wrong(samples: Sequence[Sample]) -> list[str]:
    return [name for name, growth in _judged(samples).items() if growth.is_wrong]


def test_what_stays_is_flat() -> None:
    found = _judged(_samples({}))
    assert {each.verdict for each in found.values()} == {"flat", "told only"}
    assert list(found) == [
        "lag",
        "memory worker 1", "open files worker 1", "threads worker 1",
        "memory redis", "open files redis", "threads redis",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("series", "wrong"),
    [
        # 900 s are judged: 0.05 MiB/s are 45 MiB, and 5 % of 445 MiB are allowed.
        ({"memory": _rising(400, 0.05)}, ["memory worker 1"]),
        ({"memory": _noisy(_rising(400, 0.05), 40)}, ["memory worker 1"]),
        ({"handles": _rising(60, 0.02)}, ["open files worker 1"]),
        ({"handles": _noisy(_rising(60, 0.02), 6)}, ["open files worker 1"]),
        ({"threads": _rising(20, 0.01)}, ["threads worker 1"]),
        ({"handles": _rising(60, 0.2)}, ["open files worker 1", "open files redis"]),
        ({"threads": _rising(20, 0.2)}, ["threads worker 1", "threads redis"]),
        # Two events a second too few are done.
        ({"lag": _rising(300, 2)}, ["lag"]),
        ({"lag": _noisy(_rising(300, 2), 900, peaks=True)}, ["lag"]),
    ],
)
def test_what_grows_is_told(series: dict[str, Series], wrong: list[str]) -> None:
    assert _wrong(_samples(series)) == wrong


@pytest.mark.parametrize(
    "series",
    [
        {"memory": _noisy(_flat(400), 60)},
        {"memory": _noisy(_flat(400), 20, peaks=True)},
        {"memory": _warming_up(400)},
        {"memory": _rising(400, -0.2)},
        {"memory": _rising(400, 0.01)},
        {"handles": _noisy(_flat(60), 12, peaks=True)},
        {"threads": _noisy(_flat(20), 5)},
        {"lag": _noisy(_flat(300), 300, peaks=True)},
        {"lag": lambda at: 900 * (at % 7 < 1)},
    ],
)
def test_noise_peaks_and_warm_up_are_not_growth(series: dict[str, Series]) -> None:
    assert _wrong(_samples(series)) == []


def test_memory_of_a_server_is_told_and_not_judged() -> None:
    found = _judged(_samples({"memory": _rising(400, 1)}))["memory redis"]
    assert (found.verdict, found.is_wrong) == ("told only", False)
    assert found.rise == pytest.approx(900, abs=2)
    # A MiB a second at a thousand events a second.
    assert found.note.endswith("; 1,049 bytes/event")


def test_a_step_in_the_judged_half_is_growth() -> None:
    assert _wrong(_samples({"memory": lambda at: 400 + 60 * (at > 0.75 * _SECONDS)})) == [
        "memory worker 1"
    ]


def test_too_few_samples_are_not_taken_for_flat() -> None:
    found = _judged(_samples({}, seconds=6)[::2], seconds=6)
    assert found["lag"].is_wrong
    assert found["lag"].verdict.startswith("too few samples")
    assert not found["memory redis"].is_wrong


def test_a_worker_that_came_later_is_judged_by_its_own_samples() -> None:
    samples = _samples({"memory": _rising(400, 0.1)})
    late = [
        each if each.at_s > 1_200 else Sample(**{**vars(each), "memory": {}}) for each in samples
    ]
    found = _judged(late)["memory worker 1"]
    assert found.trend is not None
    assert found.trend.samples == 600
    assert found.rise == pytest.approx(60, abs=1)


def test_the_line_is_the_one_through_exact_values() -> None:
    times = [float(at) for at in range(1_000)]
    trend = fit_trend(times, [7 + 3 * at for at in times])
    assert (trend.start, trend.end, trend.seconds) == pytest.approx((7, 7 + 3 * 999, 999))
