"""Gauges of the newest finished run of each period, for alerts. Bounded: classes and currencies."""

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
FROM reconciliation_runs ORDER BY started_at DESC, run_id DESC LIMIT 1
"""
#: Amounts in more currencies are left out.
_CURRENCIES_MAX = 20


@dataclass(frozen=True, slots=True)
class NewestRun:
    """Open amounts by class and currency, each check's added up by their size."""

    amounts: dict[tuple[str, str], Decimal]
    findings: dict[str, int]
    exit_code: int
    finished_s: int


def newest_run(client: Client) -> NewestRun | None:
    """The newest finished run; None before the first."""
    rows = client.query(_NEWEST).result_rows
    if not rows:
        return None
    classes, currencies, amounts, findings, exit_code, finished = rows[0]
    found: dict[tuple[str, str], Decimal] = {}
    counts: dict[str, int] = {}
    kept = set(sorted({each for each in currencies if each})[:_CURRENCIES_MAX])
    for name, currency, amount, count in zip(classes, currencies, amounts, findings, strict=True):
        counts[name] = counts.get(name, 0) + int(count)
        if currency in kept:
            found[name, currency] = found.get((name, currency), Decimal(0)) + abs(amount)
    return NewestRun(found, counts, int(exit_code), int(finished))


def set_gauges(metrics: ReconciliationMetrics, run: NewestRun | None) -> None:
    """Show a run; a class and currency that it does not have goes away."""
    metrics.variance.clear()
    if run is None:
        return
    for (name, currency), amount in run.amounts.items():
        metrics.variance.labels(name, currency).set(float(amount))
    for each in VarianceClass:
        metrics.findings.labels(str(each)).set(run.findings.get(str(each), 0))
    metrics.exit_code.set(run.exit_code)
    metrics.finished.set(run.finished_s)


def write_textfile(path: Path, metrics: ReconciliationMetrics) -> None:
    """Write what Prometheus' textfile collector reads; the file is whole at any moment."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(generate_latest(metrics.registry))
    part.replace(path)
