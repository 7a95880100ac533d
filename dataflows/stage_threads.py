"""Threads beside the dataflow's, each for one stage, whose CPU time is told."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: Takes a stage and CPU seconds that it used; called by the stage's own thread.
Spent = Callable[[str, float], None]


class StageThread(ThreadPoolExecutor):
    """One thread that does what is submitted, one after the other."""

    def __init__(self, stage: str, spent: Spent) -> None:
        """`spent` is told after each piece of work, before its result can be had."""
        super().__init__(1, thread_name_prefix=stage)
        self._stage = stage
        self._spent = spent

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As any executor; the work is measured, whether it fails or not."""

        def measured() -> T:
            began = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                self._spent(self._stage, time.thread_time() - began)

        return super().submit(measured)
