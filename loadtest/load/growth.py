"""Whether what a run holds grows: a robust trend over its second half, against a tolerance.

The first half is warm-up: caches fill, pools open, code is loaded. In the second half a line is
laid through the samples (Theil and Sen: the median of the slopes of all pairs), which a peak, a
pause or a late sample does not move. What that line rises by may not exceed the tolerance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.load.schedule import Schedule
from loadtest.load.watching import Sample

#: Shorter than this, the second half is warm-up as well.
SOAK_S_MIN = 20
_SAMPLES_MIN = 5
#: Medians of so many stretches are what the line goes through, however long the run was.
_STRETCHES_MAX = 240
_MIB = 2**20

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerance:
    """What a quantity may rise by: `least` (in its unit), or `share` (0..1) of its level."""

    least: float
    share: float
    why: str

    def allowed(self, level: float) -> float:
        """The most that a quantity at this level may rise by."""
        return max(self.least, self.share * level)


@dataclass(frozen=True)
class Trend:
    """A line through `samples` samples of `seconds`: its values at both ends."""

    start: float
    end: float
    seconds: float
    samples: int


@dataclass(frozen=True)
class Growth:
    """One quantity: `trend` is None of too few samples, `tolerance` where it is told only.

    `note` says why it is not judged, or what the rise comes to.
    """

    name: str
    unit: str
    trend: Trend | None
    tolerance: Tolerance | None
    note: str = ""

    @property
    def rise(self) -> float:
        """From the beginning of the judged stretch to its end, along the line."""
        return 0.0 if self.trend is None else self.trend.end - self.trend.start

    @property
    def allowed(self) -> float | None:
        """The most that it may rise by."""
        if self.trend is None or self.tolerance is None:
            return None
        return self.tolerance.allowed(self.trend.start)

    @property
    def is_wrong(self) -> bool:
        """It grew, or it had to be judged and could not be."""
        if self.tolerance is None:
            return False
        return self.allowed is None or self.rise > self.allowed

    @property
    def verdict(self) -> str:
        """For people."""
        if self.trend is None:
            return f"too few samples: at least {_SAMPLES_MIN} are needed"
        if self.tolerance is None:
            return "told only"
        return "grew" if self.is_wrong else "flat"

    def row(self) -> tuple[str, ...]:
        """Name, start, end, rise, what is allowed, verdict, why; as texts."""
        if self.trend is None:
            return (self.name, "-", "-", "-", "-", self.verdict, self.note)
        values = (self.trend.start, self.trend.end, self.rise, self.allowed)
        cells = ("-" if value is None else f"{value:,.1f} {self.unit}".strip() for value in values)
        why = self.note if self.tolerance is None else self.tolerance.why
        return (self.name, *cells, self.verdict, why)

    def document(self) -> dict[str, Any]:
        """For the JSON report."""
        return {
            **asdict(self),
            "rise": self.rise, "allowed": self.allowed, "verdict": self.verdict,
            "is_wrong": self.is_wrong,
        }  # fmt: skip


HEADS = ("quantity", "at half of the run", "at its end", "rise", "allowed", "verdict", "why")

_MEMORY = Tolerance(16, 0.05, "buffers of batches and flushes, and what the allocator keeps")
_FILES = Tolerance(8, 0, "connections of pools come and go")
_THREADS = Tolerance(2, 0, "pools of threads come and go")
_SERVER_FILES = Tolerance(64, 0.2, "files of parts and segments, until they are merged")
_SERVER_THREADS = Tolerance(32, 0.2, "the server's pools follow its load")


def judge_growth(samples: Sequence[Sample], schedule: Schedule) -> list[Growth]:
    """One line for each quantity of each process, and for the lag.

    Workers and the lag must not grow. Of servers, files and threads are judged; their memory is
    told only, because it is theirs to bound. The sender is ours to measure with, and left out.
    """
    judged = [each for each in samples if schedule.seconds / 2 <= each.at_s <= schedule.seconds]
    events = judged[-1].durable - judged[0].durable if judged else 0
    second = Tolerance(schedule.rate, 0, "it swings with each flush: the events of one second")
    found = [Growth("lag", "events", _trend(judged, lambda each: float(each.lag)), second)]
    names = dict.fromkeys(name for each in judged for name in each.memory if name != "sender")
    for name in names:
        is_worker = name.startswith("worker")
        memory = _trend(judged, _held("memory", name, scale=_MIB))
        files = _trend(judged, _held("handles", name))
        threads = _trend(judged, _held("threads", name))
        found += [
            Growth(f"memory {name}", "MiB", memory, _MEMORY)
            if is_worker
            else Growth(f"memory {name}", "MiB", memory, None, _per_event(memory, events)),
            Growth(f"open files {name}", "", files, _FILES if is_worker else _SERVER_FILES),
            Growth(f"threads {name}", "", threads, _THREADS if is_worker else _SERVER_THREADS),
        ]
    return found


def fit_trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through samples in the order of `times` (seconds); at least two of them."""
    stretches = min(len(times), _STRETCHES_MAX)
    at = _medians(times, stretches)
    level = _medians(values, stretches)
    first, second = np.triu_indices(stretches, k=1)
    slope = float(np.median((level[second] - level[first]) / (at[second] - at[first])))
    base = float(np.median(level - slope * at))
    start, end = times[0], times[-1]
    return Trend(base + slope * start, base + slope * end, end - start, len(times))


def _medians(values: Sequence[float], stretches: int) -> Numbers:
    parts = np.array_split(np.asarray(values, dtype=np.float64), stretches)
    return np.array([np.median(part) for part in parts])


def _trend(samples: Sequence[Sample], ask: Callable[[Sample], float | None]) -> Trend | None:
    """Of the samples that have an answer; None of too few."""
    pairs = [(each.at_s, value) for each in samples if (value := ask(each)) is not None]
    if len(pairs) < _SAMPLES_MIN:
        return None
    times, values = zip(*pairs, strict=True)
    return fit_trend(times, values)


def _held(quantity: str, name: str, *, scale: int = 1) -> Callable[[Sample], float | None]:
    def ask(sample: Sample) -> float | None:
        held: Mapping[str, int] = getattr(sample, quantity)
        return held[name] / scale if name in held else None

    return ask


def _per_event(memory: Trend | None, events: int) -> str:
    why = "bounded by its own settings"
    if memory is None or not events:
        return why
    return f"{why}; {(memory.end - memory.start) * _MIB / events:,.0f} bytes/event"
