"""The cuts of a period's invoices: which events each one could see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from metering.errors import PermanentError
from reconcile.period import Period

_RUNS = """
SELECT run_id, argMax(cut_streams, recorded_at), argMax(cut_partitions, recorded_at),
       argMax(cut_offsets, recorded_at), toUnixTimestamp64Micro(min(recorded_at))
FROM billing_runs
WHERE run_id IN %(run_ids)s OR (kind = 'close' AND period = %(period)s AND state = 'finished')
GROUP BY run_id ORDER BY min(recorded_at)
"""
_INVOICED = "SELECT DISTINCT run_id FROM invoices FINAL WHERE {period} ORDER BY run_id"


@dataclass(frozen=True, slots=True)
class Cut:
    """Of every partition the first offset that a close did not look at, and when it began.

    `is_last`: also the one of customers that have no invoice.
    """

    run_id: str
    streams: tuple[str, ...]
    partitions: tuple[int, ...]
    offsets: tuple[int, ...]
    began_us: int
    is_last: bool

    @property
    def parameters(self) -> dict[str, Any]:
        """What queries refer to."""
        return {
            "run_id": self.run_id, "cut_us": self.began_us, "cut_streams": list(self.streams),
            "cut_partitions": list(self.partitions), "cut_offsets": list(self.offsets),
        }  # fmt: skip

    def customers(self, period: Period) -> str:
        """SQL that keeps the customers whose invoice is of this cut."""
        of_runs = f"SELECT customer_id FROM invoices FINAL WHERE {period.condition()} AND run_id"
        if self.is_last:
            return f"customer_id NOT IN ({of_runs} != %(run_id)s)"
        return f"customer_id IN ({of_runs} = %(run_id)s)"


def read_cuts(client: Client, period: Period) -> list[Cut]:
    """The cuts of the period, the oldest first; none where it was not closed.

    Raises `PermanentError` for an invoice of a run that left no cut.
    """
    invoiced = client.query(
        _INVOICED.format(period=period.condition()), parameters=period.parameters
    ).result_rows
    run_ids = [str(row[0]) for row in invoiced]
    bound = {"run_ids": run_ids or [""], "period": period.name}
    rows = client.query(_RUNS, parameters=bound).result_rows
    known = {str(row[0]) for row in rows}
    if missing := [run_id for run_id in run_ids if run_id not in known]:
        msg = (
            f"billing_runs: expected the cut of every run with invoices of {period.name}, got none "
            f"of {', '.join(missing)}; their lines cannot be derived again"
        )
        raise PermanentError(msg)
    return [_cut(row, is_last=at == len(rows)) for at, row in enumerate(rows, 1)]


def _cut(row: Sequence[Any], *, is_last: bool) -> Cut:
    run_id, streams, partitions, offsets, began_us = row
    if not streams:  # closed before any usage came; an empty array has no type in a query
        streams, partitions, offsets = ("",), (0,), (0,)
    return Cut(
        str(run_id), tuple(map(str, streams)), tuple(map(int, partitions)),
        tuple(map(int, offsets)), int(began_us), is_last,
    )  # fmt: skip
