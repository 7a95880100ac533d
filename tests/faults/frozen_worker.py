"""`meterline run` that stops itself (SIGSTOP) between the check of a step and its write.

`FAULT_FREEZE=usage_totals:3` stands still right before the third insert into that table;
`commit` stands for the commit of offsets. The checks before the step are passed by then, so that
nothing but the rows themselves can keep a worker that was replaced meanwhile from doing harm.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pyarrow as pa

import dataflows.worker
from cli.main import main
from metering.batch import Source
from sinks.usage_sink import Committer, UsageSink


class _Freezer:
    def __init__(self, wanted: str) -> None:
        self._table, _, nth = wanted.partition(":")
        self._left = int(nth or 1)

    def about_to_write(self, table: str) -> None:
        if table != self._table:
            return
        self._left -= 1
        if self._left == 0:
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

    def __init__(self, client: Any, store: Any, committer: Committer, *rest: Any, **named: Any):
        freezer = _FREEZER
        super().__init__(client, store, _FreezingCommitter(committer, freezer), *rest, **named)

    def _insert(self, table: str, found: pa.Table | None) -> None:
        if found is not None:
            _FREEZER.about_to_write(table)
        super()._insert(table, found)


_FREEZER = _Freezer(os.environ["FAULT_FREEZE"])

if __name__ == "__main__":
    dataflows.worker.UsageSink = FreezingSink  # type: ignore[misc]
    main()
