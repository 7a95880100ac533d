"""What `meterline reconcile` prints: the report for people, the document for programs."""

from collections.abc import Iterator
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reconcile.result import Comparison, Reconciliation
from reconcile.variance import Finding, Severity, money_text, text_of

_STYLES = {Severity.DANGER: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def json_pieces(run: Reconciliation) -> Iterator[str]:
    """The whole run as one JSON object, a finding a line. Amounts and quantities are decimal text.

    In pieces, as there may be a finding for every line of a month.
    """
    head = orjson.dumps(_head(run)).decode()
    yield f'{head[:-1]},"findings":['
    for at, each in enumerate(run.findings):
        yield f"{',' if at else ''}\n{orjson.dumps(_finding(each)).decode()}"
    yield "]}\n"


def _head(run: Reconciliation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run_id": run.run_id,
        "period": run.period,
        "exit_code": run.exit_code,
        "checks": [str(each) for each in run.checks],
        "notes": run.notes,
        "inputs": [
            {"role": each.role, "name": each.name, "sha256": each.sha256, "rows": each.rows}
            for each in run.inputs
        ],
        "counts": run.counts,
        "totals": [_comparison(each) for each in run.comparisons],
        "classes": [
            {
                "check": str(each.check), "class": str(each.variance), "currency": each.currency,
                "findings": each.findings, "tolerated": each.tolerated,
                "amount": text_of(each.amount),
            }
            for each in run.sums
        ],
    }  # fmt: skip
    return document


def _comparison(each: Comparison) -> dict[str, Any]:
    return {
        "check": str(each.check), "currency": each.currency, "expected": text_of(each.expected),
        "got": text_of(each.got), "difference": text_of(each.difference),
        "explained": text_of(each.explained), "unexplained": text_of(each.unexplained),
    }  # fmt: skip


def _finding(each: Finding) -> dict[str, Any]:
    about = each.subject
    return {
        "check": str(each.check), "class": str(each.variance), "severity": str(each.severity),
        "tolerated": each.tolerated, "customer_id": about.customer_id, "meter": about.meter,
        "group": about.group, "kind": about.kind, "period_start": about.period_start,
        "part_start": about.part_start, "invoice_id": about.invoice_id, "line_id": about.line_id,
        "reference": about.reference, "currency": each.currency, "amount": text_of(each.amount),
        "expected_amount": text_of(each.expected_amount), "got_amount": text_of(each.got_amount),
        "expected_quantity": text_of(each.expected_quantity),
        "got_quantity": text_of(each.got_quantity), "reason": each.reason,
    }  # fmt: skip


def print_run(console: Console, run: Reconciliation, *, limit: int) -> None:
    """Totals, sums by class, and the findings that matter most."""
    console.print(f"reconciliation of {run.period}, run {run.run_id}", markup=False)
    for each in run.inputs:
        console.print(
            f"{each.role}: {each.name}, {each.rows} rows, sha256 {each.sha256[:16]}", markup=False
        )
    for note in run.notes:
        console.print(f"note: {note}", markup=False)
    console.print(_totals(run))
    if not run.findings:
        console.print("all agree", style="green")
        return
    console.print(_classes(run))
    console.print(_findings(run, limit))
    tolerated = len(run.findings) - len(run.open)
    shown = f"the {limit} that matter most of " if len(run.findings) > limit else ""
    console.print(f"{shown}{len(run.findings)} findings, {tolerated} of them within tolerance")


def _totals(run: Reconciliation) -> Table:
    table = Table("check", "currency", box=None, pad_edge=False)
    for name in ("expected", "got", "difference", "unexplained"):
        table.add_column(name, justify="right")
    for each in run.comparisons:
        amounts = (each.expected, each.got, each.difference, each.unexplained)
        table.add_row(str(each.check), each.currency, *map(money_text, amounts))
    return table


def _classes(run: Reconciliation) -> Table:
    table = Table("check", "class", "currency", box=None, pad_edge=False)
    for name in ("findings", "amount"):
        table.add_column(name, justify="right")
    for each in run.sums:
        table.add_row(
            str(each.check), str(each.variance), each.currency, str(each.findings),
            money_text(each.amount),
        )  # fmt: skip
    return table


def _findings(run: Reconciliation, limit: int) -> Table:
    table = Table("severity", "check", "class", "customer", "meter", box=None, pad_edge=False)
    table.add_column("amount", justify="right")
    table.add_column("reason")
    order = sorted(run.findings, key=lambda each: (-each.severity.rank, -abs(each.amount)))
    for each in order[:limit]:
        severity = "tolerated" if each.tolerated else str(each.severity)
        table.add_row(
            severity, str(each.check), str(each.variance), escape(each.subject.customer_id),
            escape(each.subject.meter or each.subject.kind),
            f"{money_text(each.amount)} {each.currency}", escape(each.reason),
            style="dim" if each.tolerated else _STYLES.get(each.severity),
        )  # fmt: skip
    return table
