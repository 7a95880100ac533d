"""`meterline run` with a fault planted in it, for what cannot be done from outside.

`FAULT_FREEZE=usage_totals:3`: in the third flush with events, stand still (SIGSTOP) right before
the insert into that table; `commit` stands for the commit of offsets. The checks before the step
are passed by then, so that nothing but the rows themselves can keep a worker that was replaced
meanwhile from doing harm.

`FAULT_UNASSIGNED_S=2`: without a partition the worker is unhealthy after 2 seconds already.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pyarrow as pa

import dataflows.health
import dataflows.worker
from cli.main import main
from metering.batch import Source
from sinks.usage_sink import Committer, UsageSink


class _Freezer:
    """Counts flushes with events and stands still in one of them."""

    def __init__(self, wanted: str) -> None:
        self._table, _, nth = wanted.partition(":")
        self._left = int(nth or 1)

    def about_to_write(self, table: str) -> None:
        if table == "usage_events":
            self._left -= 1
        if table == self._table and self._left == 0:
            self._left = -1
            os.kill(os.getpid(), signal.SIGSTOP)


class _FreezingCommitter:
    def __init__(self, committer: Committer, freezer: _Freezer) -> None:
        self._committer = committer
        self._freezer = freezer

    def commit(self, positions: dict[Source, int]) -> None:
        self._freezer.about_to_write("commit")
        self._committer.commit(positions)


class FreezingSink(UsageSink):
    """The sink, with one moment at which it stands still."""

    def __init__(
        self, client: Any, store: Any, committer: Committer, topic: Any, **named: Any
    ) -> None:
        self._freezer = _FREEZER
        super().__init__(client, store, _FreezingCommitter(committer, _FREEZER), topic, **named)

    def _insert(self, table: str, found: pa.Table | None) -> None:
        if found is not None:
            self._freezer.about_to_write(table)
        super()._insert(table, found)


#: One for the process: the worker inside it is built anew after every transient error.
_FREEZER = _Freezer(os.environ.get("FAULT_FREEZE", ""))

if __name__ == "__main__":
    if "FAULT_FREEZE" in os.environ:
        dataflows.worker.UsageSink = FreezingSink  # type: ignore[misc]
    if "FAULT_UNASSIGNED_S" in os.environ:
        dataflows.health.NO_ASSIGNMENT_S = float(os.environ["FAULT_UNASSIGNED_S"])
    main()
