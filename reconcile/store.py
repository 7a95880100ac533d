"""Writes a run: review records, findings, and last the row that makes both visible.

    1 review_records_log        range by range of customers; a crash leaves rows that no view shows,
                                as the run is not finished
    2 reconciliation_findings   the same
    3 reconciliation_runs       all of it stands

A run that was cut off is not taken up again: the next one has an id of its own.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from reconcile.result import Reconciliation
from reconcile.variance import Finding, decimal_of

#: Stated with every insert: durable when it returns, one block each.
WRITE_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "wait_for_async_insert": 1,
    "insert_deduplicate": 0,
    "max_insert_block_size": 10_000_000,
    "input_format_null_as_default": 1,
}
_BLOCK = 50_000
_FINDING_COLUMNS = (
    "run_id", "number", "check_name", "class", "severity", "tolerated", "customer_id", "meter",
    "group", "kind", "period", "period_start", "part_start", "invoice_id", "line_id", "reference",
    "currency", "amount", "expected_amount", "got_amount", "expected_quantity", "got_quantity",
    "reason",
)  # fmt: skip


def write_findings(client: Client, run: Reconciliation) -> None:
    """Step 2: every finding of the run."""
    rows = (_finding_row(run, number, each) for number, each in enumerate(run.findings, 1))
    for block in _blocks(rows):
        client.insert(
            "reconciliation_findings", block, column_names=_FINDING_COLUMNS,
            settings=WRITE_SETTINGS,
        )  # fmt: skip


def write_frame(client: Client, table: str, frame: pl.DataFrame) -> None:
    """Step 1: rows whose `Int128` columns are 10^-12."""
    for part in frame.iter_slices(_BLOCK):
        client.insert_arrow(table, arrow_of(part), settings=WRITE_SETTINGS)


def arrow_of(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow, `Int128` of 10^-12 as Decimal(38, 12)."""
    columns = {}
    for name, kind in frame.schema.items():
        if kind != pl.Int128:
            columns[name] = frame[name].to_arrow()
            continue
        whole = frame[name].rechunk().cast(pl.Decimal(38, 0)).to_arrow()
        columns[name] = pa.Array.from_buffers(
            pa.decimal128(38, 12), len(whole), whole.buffers(), offset=whole.offset
        )
    return pa.table(columns)


def write_run(client: Client, run: Reconciliation, *, actor: str, now: datetime) -> None:
    """Step 3: the row that says that the run came to its end."""
    sums, compared = run.sums, run.comparisons
    open_sums = [  # of their sizes: too much here does not make up for too little there
        sum(
            abs(each.amount)
            for each in run.open
            if (each.check, each.variance, each.currency) == (s.check, s.variance, s.currency)
        )
        for s in sums
    ]
    values: dict[str, Any] = {
        "run_id": run.run_id, "period": run.period, "started_at": run.started_at,
        "finished_at": now, "actor": actor, "exit_code": run.exit_code,
        "findings": len(run.findings), "tolerated": len(run.findings) - len(run.open),
        "checks": [str(each) for each in run.checks], "notes": run.notes,
        "cut_runs": run.cut_runs,
        "input_roles": [each.role for each in run.inputs],
        "input_names": [each.name for each in run.inputs],
        "input_sha256": [each.sha256 for each in run.inputs],
        "input_rows": [each.rows for each in run.inputs],
        "count_names": list(run.counts), "counts": list(run.counts.values()),
        "compared_checks": [str(each.check) for each in compared],
        "compared_currencies": [each.currency for each in compared],
        "compared_expected": [decimal_of(each.expected) for each in compared],
        "compared_got": [decimal_of(each.got) for each in compared],
        "sum_checks": [str(each.check) for each in sums],
        "sum_classes": [str(each.variance) for each in sums],
        "sum_currencies": [each.currency for each in sums],
        "sum_findings": [each.findings for each in sums],
        "sum_amounts": [decimal_of(each.amount) for each in sums],
        "sum_open_amounts": [decimal_of(each) for each in open_sums],
    }  # fmt: skip
    client.insert(
        "reconciliation_runs", [list(values.values())], column_names=list(values),
        settings=WRITE_SETTINGS,
    )  # fmt: skip


def _finding_row(run: Reconciliation, number: int, each: Finding) -> list[Any]:
    about = each.subject
    quantities = (each.expected_quantity, each.got_quantity)
    return [
        run.run_id, number, str(each.check), str(each.variance), str(each.severity),
        each.tolerated, about.customer_id, about.meter, about.group, about.kind, run.period,
        about.period_start, about.part_start, about.invoice_id, about.line_id, about.reference,
        each.currency, decimal_of(each.amount), decimal_of(each.expected_amount),
        decimal_of(each.got_amount),
        *(None if quantity is None else decimal_of(quantity) for quantity in quantities),
        each.reason,
    ]  # fmt: skip


def _blocks(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    while block := list(islice(rows, _BLOCK)):
        yield block
