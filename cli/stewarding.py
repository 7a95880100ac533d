"""Jobs that run by themselves, each at its own interval and in a thread of its own.

A job that fails is logged, shows in the metrics, and is tried again: soon at first, then with
growing delays up to its interval. It does not hold up the others. A job has to be one that may end
at any point and be run again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import CollectorRegistry

from metering.errors import MeterlineError
from metering.metrics import StewardMetrics

_LOG = logging.getLogger(__name__)
_RETRY_FIRST_S = 2
#: How long a job that runs may go on after the steward was told to stop.
_STOP_S = 30


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, how often (from one start to the next), and its name in metrics and log."""

    name: str
    every: timedelta
    run: Callable[[], None]


def delay_s(every: timedelta, failures: int) -> int:
    """Seconds until a job is run again after so many failures in a row; 0: as it is told."""
    if not failures:
        return int(every.total_seconds())
    return min(int(every.total_seconds()), _RETRY_FIRST_S << min(failures - 1, 20))


class Steward:
    """Runs jobs until it is told to stop."""

    def __init__(self, jobs: Sequence[Job], metrics: StewardMetrics) -> None:
        """`jobs` have different names."""
        self._metrics = metrics
        self._stop = threading.Event()
        self._failing: dict[str, str] = {}
        self._waiting = {job.name for job in jobs}
        self._threads = [
            threading.Thread(target=self._repeat, args=(job,), name=job.name, daemon=True)
            for job in jobs
        ]

    @property
    def registry(self) -> CollectorRegistry:
        """Where its metrics are."""
        return self._metrics.registry

    def run(self) -> None:
        """Run all jobs; returns after `stop`, when those under way have ended, or were given up.

        What is given up goes on where it was when the steward starts again.
        """
        for thread in self._threads:
            thread.start()
        self._stop.wait()
        until = time.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(timeout=max(until - time.monotonic(), 0))

    def stop(self) -> None:
        """Let no job start any more."""
        self._stop.set()

    def faults(self) -> list[str]:
        """Jobs whose thread ended."""
        if self._stop.is_set():
            return []
        return [
            f"job {thread.name} ended"
            for thread in self._threads
            if thread.ident is not None and not thread.is_alive()
        ]

    def obstacles(self) -> list[str]:
        """The same, jobs that did not end well yet, and those that failed last time."""
        waiting = [f"job {name} has not ended yet" for name in sorted(self._waiting)]
        failing = [f"job {name} failed: {why}" for name, why in sorted(self._failing.items())]
        return [*self.faults(), *waiting, *failing]

    def _repeat(self, job: Job) -> None:
        failures = 0
        self._metrics.job_failing.labels(job.name).set(0)
        self._metrics.job_began.labels(job.name).set_to_current_time()
        self._metrics.job_every.labels(job.name).set(job.every.total_seconds())
        while not self._stop.is_set():
            began = time.monotonic()
            failures = 0 if self._once(job) else failures + 1
            took = int(time.monotonic() - began)
            self._stop.wait(max(delay_s(job.every, failures) - took, 1))

    def _once(self, job: Job) -> bool:
        try:
            with self._metrics.job_seconds.labels(job.name).time():
                job.run()
        except MeterlineError as error:
            self._fail(job, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a fault of one job does not end the others
            _LOG.exception("job %s: unexpected error", job.name)
            self._fail(job, f"{type(error).__name__}: {error}")
            return False
        self._failing.pop(job.name, None)
        self._waiting.discard(job.name)
        self._metrics.job_failing.labels(job.name).set(0)
        self._metrics.job_done.labels(job.name).set_to_current_time()
        self._metrics.job_runs.labels(job.name, "done").inc()
        return True

    def _fail(self, job: Job, why: str) -> None:
        _LOG.error("job %s failed, and will be tried again: %s", job.name, why)
        self._failing[job.name] = why
        self._waiting.discard(job.name)
        self._metrics.job_failing.labels(job.name).set(1)
        self._metrics.job_runs.labels(job.name, "failed").inc()
