"""CPU time of processes as a row of samples, so that what lies between two moments can be told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from loadtest.processes import CpuReading, latest, read_cpu

_EVERY_S = 0.05


class CpuWatch:
    """Samples while its context lasts; a process that has ended keeps what it had used."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._samples = [read_cpu(self._pids)]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def between(self, began_s: float, ended_s: float) -> CpuReading:
        """What was used between two moments (monotonic seconds), to the nearest samples."""
        first = min(self._samples, key=lambda each: abs(each.at_s - began_s))
        last = min(self._samples, key=lambda each: abs(each.at_s - ended_s))
        return last.since(first)

    def _sample(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            self._samples.append(latest(self._samples[-1], read_cpu(self._pids)))
