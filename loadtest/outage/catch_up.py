"""When the lag is back to normal after an outage, and how long live events took until then."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.load.latencies import Milliseconds, percentile_of_counts

#: The lag is normal while it is at most what comes in so many seconds of live traffic ...
NORMAL_S = 2
#: ... and it is back once it has stayed so for this long.
STEADY_S = 5
#: Live traffic goes on for this long after that, to compare with.
AFTER_S = 15


@dataclass(frozen=True)
class Caught:
    """`at_s` is the first moment from which the lag stayed normal, on the clock of the samples.

    `during` counts the latencies (ms) of live events that were durable by then.
    """

    at_s: float
    during: Milliseconds


class CatchUp:
    """Hears the lag every second; calls `stop` once it has heard enough, or `patience_s` is over.

    `rate` is that of live traffic, in events a second.
    """

    def __init__(self, rate: int, *, patience_s: float, stop: Callable[[], None]) -> None:
        """Nothing was heard yet."""
        self.normal = rate * NORMAL_S
        self.caught: Caught | None = None
        self._candidate: Caught | None = None
        self._patience_s = patience_s
        self._stop = stop
        self._has_stopped = False

    def hear(self, at_s: float, lag: int, *, counts: Milliseconds) -> None:
        """Lag in events at a moment, and the latencies of live events that were durable by then."""
        if self.caught is None:
            self._look(at_s, lag, counts=counts)
        enough_s = self._patience_s if self.caught is None else self.caught.at_s + AFTER_S
        if at_s >= min(enough_s, self._patience_s) and not self._has_stopped:
            self._has_stopped = True
            self._stop()

    def _look(self, at_s: float, lag: int, *, counts: Milliseconds) -> None:
        if lag > self.normal:
            self._candidate = None
        elif self._candidate is None:
            self._candidate = Caught(at_s, counts)
        elif at_s - self._candidate.at_s >= STEADY_S:
            self.caught = self._candidate


def percentiles_ms(counts: Milliseconds, before: Milliseconds | None = None) -> dict[str, int]:
    """p50, p90, p99 and the greatest of what is counted, without what was counted `before`."""
    found = counts.copy()
    if before is not None:
        found[: len(before)] -= before
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: percentile_of_counts(found, share) for name, share in shares.items()}
