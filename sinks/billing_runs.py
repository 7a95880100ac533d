"""Closes and adjustments as runs: what they began with is kept, so that they end with the same.

At most one run of a kind is under way: whoever begins one reads again afterwards which ones are,
and goes on with the earliest, whoever began it. What two processes derive for one run is equal, row
by row. One process bills at a time (see `sinks/billing_lease.py`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors, insert_arrow
from sinks.conservation.cuts import read_cuts
from sinks.fenced_insert import BeforeStep, insert_fenced

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunKind(StrEnum):
    """What a run does."""

    CLOSE = "close"
    ADJUST = "adjust"
    RERATING = "rerating"


class RunState(StrEnum):
    """How far it is; an abandoned run is never gone on with, what it issued stands."""

    STARTED = "started"
    FINISHED = "finished"
    ABANDONED = "abandoned"


class CutEnd(NamedTuple):
    """The first offset of a partition that is not looked at."""

    stream: str
    partition: int
    next_offset: int


class RawState(NamedTuple):
    """Which raw history counts: offsets before the cut, as corrected up to a moment.

    `as_of_us` (Unix microseconds): what was taken back later counts still.
    """

    cut: tuple[CutEnd, ...]
    as_of_us: int

    def parameters(self) -> dict[str, object]:
        """Parameters `cut` (rows; at least one, since an empty array has no type) and `as_of`."""
        return {"cut": [tuple(end) for end in self.cut] or [("", 0, 0)], "as_of": self.as_of_us}


class BillingRun(NamedTuple):
    """One run. `period` is as it was named; `catalog` the hash of the price book's content.

    `kind` is a `RunKind`.
    """

    run_id: str
    kind: str
    period: str
    catalog: str
    state: RawState
    complete_to_ms: int
    customers: int
    actor: str
    reason: str


_RUNS = """
SELECT run_id, argMin(kind, recorded_at), argMin(period, recorded_at), argMin(catalog, recorded_at),
       argMin(cut_streams, recorded_at), argMin(cut_partitions, recorded_at),
       argMin(cut_offsets, recorded_at), toUnixTimestamp64Micro(min(recorded_at)) AS began,
       toUnixTimestamp64Milli(argMin(complete_to, recorded_at)), argMin(customers, recorded_at),
       argMin(actor, recorded_at), argMin(reason, recorded_at)
FROM billing_runs
WHERE {which}
GROUP BY run_id HAVING {having}
ORDER BY began, run_id
"""
_COMPLETE = "SELECT toUnixTimestamp64Milli(complete_to) FROM complete_to"


class RunStore:
    """Reads and writes runs."""

    def __init__(
        self, client: Client, before_step: BeforeStep = lambda _step: None
    ) -> None:  # fmt: skip
        """`before_step` hears of each write before it happens, and may raise."""
        self._client = client
        self._before_step = before_step

    def raw_state(self, now_us: int) -> RawState:
        """Raw history as it is durable now. Raises `DependencyDown`."""
        ends = tuple(
            CutEnd(cut.stream, cut.partition, cut.next_offset) for cut in read_cuts(self._client)
        )
        return RawState(ends, now_us)

    def complete_to_ms(self) -> int:
        """To which moment live totals are complete (Unix milliseconds UTC); 0 before the first."""
        with clickhouse_errors("reading to when totals are complete"):
            return int(self._client.query(_COMPLETE).result_rows[0][0] or 0)

    def under_way(self, kind: str) -> list[BillingRun]:
        """Runs that began and did not end, the earliest first."""
        having = "countIf(state IN ('finished', 'abandoned')) = 0"
        return self._runs("kind = %(kind)s", having=having, kind=str(kind))

    def is_under_way(self, run: BillingRun) -> bool:
        """Whether nobody has ended the run yet."""
        return any(each.run_id == run.run_id for each in self.under_way(run.kind))

    def by_id(self, run_ids: Sequence[str]) -> dict[str, BillingRun]:
        """Runs by their id; those that are not known are not in it."""
        if not run_ids:
            return {}
        found = self._runs("run_id IN %(ids)s", having="1", ids=list(run_ids))
        return {each.run_id: each for each in found}

    def customers(self, run: BillingRun) -> list[str]:
        """Whom the run is for, in order."""
        with clickhouse_errors("reading the customers of a run"):
            rows = self._client.query(
                "SELECT DISTINCT customer_id FROM billing_run_customers"
                " WHERE run_id = %(run)s ORDER BY customer_id",
                parameters={"run": run.run_id},
            ).result_rows
        return [str(row[0]) for row in rows]

    def begin(self, run: BillingRun, customers: Sequence[str]) -> BillingRun:
        """Write a run and its customers; the earliest one under way, which is mostly this one.

        Where it is another one this run is abandoned: complete that one, and begin again.

        A crash after
        1  the customers: nobody knows of the run, and the next call begins another.
        2  the row: the next call goes on with it.
        """
        column = pa.array(customers, pa.string())
        rows = pa.table({"run_id": [run.run_id] * len(column), "customer_id": column})
        self._before_step("billing_run_customers")
        insert_arrow(self._client, "billing_run_customers", rows)
        self._write(run, RunState.STARTED, run.state.as_of_us)
        earliest = next(iter(self.under_way(run.kind)), run)
        if earliest.run_id != run.run_id:
            self.end(run, RunState.ABANDONED, now_us=run.state.as_of_us + 1)
        return earliest

    def begin_attempt(self, run: BillingRun) -> BillingRun:
        """Write a run whose id is of what asked for it, as the next attempt at that.

        Attempts before are given up: what they wrote and is visible stands. The first has the id
        as it is, the next ones a number behind it, so that they share no rows.
        """
        before = self._runs(
            "run_id = %(id)s OR startsWith(run_id, concat(%(id)s, '.'))", having="1", id=run.run_id
        )
        ended = "countIf(state IN ('finished', 'abandoned')) = 0"
        for each in self._runs(
            "run_id IN %(ids)s", having=ended, ids=[each.run_id for each in before] or [""]
        ):
            self.end(each, RunState.ABANDONED, now_us=run.state.as_of_us)
        if before:
            run = run._replace(run_id=f"{run.run_id}.{len(before) + 1}")
        self._write(run, RunState.STARTED, run.state.as_of_us)
        return run

    def end(self, run: BillingRun, state: RunState, *, now_us: int) -> None:
        """Say that the run is finished, or that nobody will go on with it."""
        self._write(run, state, max(now_us, run.state.as_of_us + 1))

    def _runs(self, which: str, *, having: str, **parameters: object) -> list[BillingRun]:
        sql = _RUNS.replace("{which}", which).replace("{having}", having)
        with clickhouse_errors("reading closes and adjustments"):
            rows = self._client.query(sql, parameters=parameters).result_rows
        return [_run(row) for row in rows]

    def _write(self, run: BillingRun, state: RunState, recorded_us: int) -> None:
        cut = run.state.cut
        rows = pa.table(
            {
                "run_id": [run.run_id],
                "kind": [str(run.kind)],
                "period": [run.period],
                "state": [str(state)],
                "catalog": [run.catalog],
                "cut_streams": pa.array([[end.stream for end in cut]], pa.list_(pa.string())),
                "cut_partitions": pa.array([[end.partition for end in cut]], pa.list_(pa.uint32())),
                "cut_offsets": pa.array([[end.next_offset for end in cut]], pa.list_(pa.uint64())),
                "complete_to": pa.array([run.complete_to_ms], pa.timestamp("ms", tz="UTC")),
                "customers": pa.array([run.customers], pa.uint64()),
                "actor": [run.actor],
                "reason": [run.reason],
                "recorded_at": pa.array(
                    [_EPOCH + timedelta(microseconds=recorded_us)], pa.timestamp("us", tz="UTC")
                ),
            }
        )
        insert_fenced(self._client, "billing_runs", rows, before_step=self._before_step)


def _run(row: Sequence[object]) -> BillingRun:
    run_id, kind, period, catalog, streams, partitions, offsets, began, complete, *rest = row
    assert isinstance(streams, Sequence)
    assert isinstance(partitions, Sequence)
    assert isinstance(offsets, Sequence)
    cut = tuple(CutEnd(*end) for end in zip(streams, partitions, offsets, strict=True))
    customers, actor, reason = rest
    return BillingRun(
        str(run_id), str(kind), str(period), str(catalog),
        RawState(cut, int(str(began))), int(str(complete)), int(str(customers)), str(actor),
        str(reason),
    )  # fmt: skip
