"""When each event has to be sent: fixed before the run, whatever becomes of it.

Latency is counted from here. A producer or a pipeline that stalls does not move what comes later,
so that every event that a stall holds up shows it (no coordinated omission).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadtest.load.profiles import Bursts

TICKS_PER_S = 100


@dataclass(frozen=True)
class Schedule:
    """`rate` events a second on average over `seconds`, in ticks of 10 ms."""

    rate: int
    seconds: int
    bursts: Bursts | None = None

    @property
    def events(self) -> int:
        """How many in all."""
        return self.rate * self.seconds

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """By tick: how many events are due up to its beginning, its own included."""
        weights = np.full(self.seconds * TICKS_PER_S, 1000, dtype=np.int64)
        if self.bursts is not None:
            peak = round(1000 * self.bursts.peak)
            quiet_s = self.bursts.every_s - self.bursts.for_s
            low = max((1000 * self.bursts.every_s - peak * self.bursts.for_s) // quiet_s, 0)
            second = np.arange(len(weights)) // TICKS_PER_S % self.bursts.every_s
            weights = np.where(second >= quiet_s, peak, low)
        summed: NDArray[np.int64] = np.cumsum(weights)
        found: NDArray[np.int64] = summed * self.events // summed[-1]
        return found

    def due_by(self, after_s: float) -> int:
        """How many events are due up to `after_s` seconds after the start."""
        tick = min(int(after_s * TICKS_PER_S), len(self.ends) - 1)
        return int(self.ends[tick]) if after_s >= 0 else 0

    def chunks(self, events_min: int, ticks_max: int) -> list[tuple[int, int]]:
        """Half-open ranges of ticks, in order, that hold so many events or are so long."""
        found, first, before = [], 0, 0
        for tick, end in enumerate(self.ends.tolist()):
            if end - before >= events_min or tick + 1 - first >= ticks_max:
                found.append((first, tick + 1))
                first, before = tick + 1, end
        if first < len(self.ends):
            found.append((first, len(self.ends)))
        return found
