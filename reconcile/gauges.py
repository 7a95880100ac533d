"""Gauges of the newest finished run of each period, for alerts. Bounded: classes and currencies.

A run of another period mends nothing of this one: what a period's newest run found stands until it
is run again, or two months are over.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from clickhouse_connect.driver.client import Client
from prometheus_client import generate_latest

from metering.metrics import ReconciliationMetrics
from reconcile.variance import VarianceClass

_NEWEST = """
SELECT sum_classes, sum_currencies, sum_open_amounts, sum_findings, exit_code,
       toUnixTimestamp(finished_at)
FROM reconciliation_runs
WHERE started_at > (SELECT max(started_at) FROM reconciliation_runs) - INTERVAL 62 DAY
ORDER BY started_at DESC, run_id DESC LIMIT 1 BY period
"""
#: Amounts in more currencies are left out.
_CURRENCIES_MAX = 20


@dataclass(frozen=True, slots=True)
class NewestRuns:
    """Open amounts by class and currency, the sizes of all findings of all periods added up."""

    amounts: dict[tuple[str, str], Decimal]
    findings: dict[str, int]
    exit_code: int
    finished_s: int


def newest_runs(client: Client) -> NewestRuns | None:
    """What the newest finished runs of all periods found together; None before the first."""
    rows = client.query(_NEWEST).result_rows
    if not rows:
        return None
    kept = set(sorted({name for row in rows for name in row[1] if name})[:_CURRENCIES_MAX])
    found: dict[tuple[str, str], Decimal] = {}
    counts: dict[str, int] = {}
    for classes, currencies, amounts, findings, *_ in rows:
        sums = zip(classes, currencies, amounts, findings, strict=True)
        for name, currency, amount, count in sums:
            counts[name] = counts.get(name, 0) + int(count)
            if currency in kept:
                found[name, currency] = found.get((name, currency), Decimal(0)) + abs(amount)
    return NewestRuns(
        found, counts, max(int(row[4]) for row in rows), max(int(row[5]) for row in rows)
    )


def set_gauges(metrics: ReconciliationMetrics, runs: NewestRuns | None) -> None:
    """Show them; a class and currency that they do not have goes away."""
    metrics.variance.clear()
    if runs is None:
        return
    for (name, currency), amount in runs.amounts.items():
        metrics.variance.labels(name, currency).set(float(amount))
    for each in VarianceClass:
        metrics.findings.labels(str(each)).set(runs.findings.get(str(each), 0))
    metrics.exit_code.set(runs.exit_code)
    metrics.finished.set(runs.finished_s)


def write_textfile(path: Path, metrics: ReconciliationMetrics) -> None:
    """Write what Prometheus' textfile collector reads; the file is whole at any moment."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(generate_latest(metrics.registry))
    part.replace(path)
