"""`meterline run` with a fault planted in it, for what cannot be done from outside.

`FAULT_FREEZE=usage_totals:3`: in the third flush with events, stand still (SIGSTOP) right before
the insert into that table; `commit` stands for the commit of offsets. The checks before the step
are passed by then, so that nothing but the rows themselves can keep a worker that was replaced
meanwhile from doing harm. `flush:1` is right before the first check of that flush.

`FAULT_FAIL="usage_totals:before:2 watermarks:after:4"`: in the second flush with events the insert
of totals does not arrive; in the fourth the watermarks arrive, and the answer is lost.

`FAULT_UNASSIGNED_S=2`: without a partition the worker is unhealthy after 2 seconds already.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pyarrow as pa

import dataflows.health
import dataflows.worker
from cli.main import main
from metering.batch import Source
from metering.errors import DependencyDown
from metering.flush import Flush
from sinks.usage_sink import Committer, UsageSink


class _Faults:
    """Counts flushes with events, and hurts some of them where they were told to be hurt."""

    def __init__(self, freeze: str, fail: str) -> None:
        table, _, nth = freeze.partition(":")
        self._freeze = (table, int(nth or 0))
        self._fail = set(fail.split())
        self._flush = 0

    def before(self, table: str) -> None:
        """About to write a `flush` with events, to a table, or to `commit`."""
        if table == "flush":
            self._flush += 1
        if (table, self._flush) == self._freeze:
            self._freeze = ("", 0)
            # To this thread, which stops inside the call. A signal to the process may be taken by
            # another thread, and this one would go on for a moment, past the check it stands at.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        self._fail_at(f"{table}:before:{self._flush}")

    def after(self, table: str) -> None:
        """Written."""
        self._fail_at(f"{table}:after:{self._flush}")

    def _fail_at(self, place: str) -> None:
        if place in self._fail:
            self._fail.remove(place)
            message = f"planted failure, {place}"
            raise DependencyDown(message)


class _HurtCommitter:
    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    def commit(self, positions: dict[Source, int]) -> None:
        _FAULTS.before("commit")
        self._committer.commit(positions)


class HurtSink(UsageSink):
    """The sink, with faults before and after its writes."""

    def __init__(
        self, client: Any, store: Any, committer: Committer, topic: Any, **named: Any
    ) -> None:
        super().__init__(client, store, _HurtCommitter(committer), topic, **named)

    def write(self, flush: Flush) -> None:
        if any(part.events or part.times_ahead for part in flush.parts):
            _FAULTS.before("flush")
        super().write(flush)

    def _insert(self, table: str, found: pa.Table | None) -> None:
        if found is None:
            super()._insert(table, found)
            return
        _FAULTS.before(table)
        super()._insert(table, found)
        _FAULTS.after(table)


#: One for the process: the worker inside it is built anew after every transient error.
_FAULTS = _Faults(os.environ.get("FAULT_FREEZE", ""), os.environ.get("FAULT_FAIL", ""))

if __name__ == "__main__":
    dataflows.worker.UsageSink = HurtSink  # type: ignore[attr-defined]
    if "FAULT_UNASSIGNED_S" in os.environ:
        dataflows.health.NO_ASSIGNMENT_S = float(os.environ["FAULT_UNASSIGNED_S"])
    main()
