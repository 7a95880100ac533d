"""`meterline steward`: what has to be done again and again beside the workers."""

import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from billing.adjustment import Adjusting
from billing.closing import Asked
from billing.period_name import PeriodName
from cli import steward_jobs
from cli.alerting import alerts_job, spend_job
from cli.close import ANSWER_S
from cli.context import CatalogOption, console, settings_with
from cli.moments import now_us
from cli.sole_biller import sole_biller
from cli.stewarding import Job, Steward
from dataflows.health import HealthServer
from metering.metrics import StewardMetrics
from metering.settings import Settings
from rating_engine.price_book.load import load_price_book
from sinks.clickhouse import connect_clickhouse
from sinks.invoice_store import InvoiceStore
from sinks.metrics_target import MetricsTarget

_LOG = logging.getLogger(__name__)
_ACTOR = "steward"


def steward_command(catalog: CatalogOption = None) -> None:
    """Run jobs beside the workers, until SIGTERM or Ctrl-C: one process for a deployment.

    Late usage: every METERLINE_STEWARD_EVERY, what came to the invoiced periods of the last
    METERLINE_STEWARD_MONTHS months is posted as `meterline adjust` does. Checks: every
    METERLINE_STEWARD_CHECKS_EVERY, totals against raw history, a range of customers at a time, what
    waits among the rejects, and what the newest reconciliation found, as metrics. Alerts: every
    METERLINE_ALERT_EVERY, as `meterline alerts check`. Serves /metrics, /healthz and /readyz.

    Example: METERLINE_HTTP_PORT=9465 meterline steward --catalog ./catalog
    """
    settings = settings_with(catalog)
    metrics = StewardMetrics()
    steward = Steward(jobs_of(settings, metrics), metrics)
    server = HealthServer(steward, settings.http_host, settings.http_port)
    target = MetricsTarget(settings, job="meterline-steward", port=server.port)
    console.print(
        f"steward of {settings.database}; http://{settings.http_host}:{server.port}/readyz"
    )
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: steward.stop())
    try:
        steward.run()
    finally:
        target.withdraw()
        server.close()
    console.print("stopped; what was under way goes on when it starts again")


def jobs_of(settings: Settings, metrics: StewardMetrics) -> list[Job]:
    """Every job that a steward runs; another one is another line here."""
    checks = settings.steward_checks_every
    return [
        Job("late_usage", settings.steward_every, late_usage(settings, metrics)),
        Job("conservation", checks, steward_jobs.conservation(settings, metrics)),
        Job("rejects", checks, steward_jobs.rejects(settings, metrics)),
        Job("alerts", settings.alert_every, alerts_job(settings, metrics)),
        Job("spend", checks, spend_job(settings, metrics)),
        Job("reconciliation", checks, steward_jobs.reconciliation(settings, metrics)),
    ]


def late_usage(settings: Settings, metrics: StewardMetrics) -> Callable[[], None]:
    """The job that adjusts invoiced periods of the recent months."""

    def run() -> None:
        book = load_price_book(settings.catalog)  # again each time: it may have changed
        client = connect_clickhouse(settings, answer_s=ANSWER_S)
        refused = 0
        try:
            for month in recent_months(datetime.now(UTC), settings.steward_months):
                asked = Asked(PeriodName.read(month), _ACTOR, "late usage")
                with sole_biller(settings, f"adjusting {month} by {_ACTOR}") as biller:
                    store = InvoiceStore(client, biller.require)
                    with biller.turn():
                        adjusting = Adjusting(client, book, store=store, now=now_us)
                        adjusted = adjusting.run(asked, say=lambda _done, _of: None)
                metrics.adjustments.inc(len(adjusted.adjustments))
                refused += len(adjusted.refused)
                for row in adjusted.adjustments:
                    _LOG.info("posted %s to invoice %s", row.adjustment_id, row.invoice_id)
                if adjusted.refused:
                    _LOG.warning(
                        "%s: %d customers have late usage, and other prices than they were billed "
                        "by; meterline adjust --period %s names them",
                        month, len(adjusted.refused), month,
                    )  # fmt: skip
        finally:
            client.close()
        metrics.adjustments_refused.set(refused)

    return run


def recent_months(now: datetime, count: int) -> list[str]:
    """Names of the last `count` months and of this one, the oldest first.

    Periods that begin in this month may have ended where the anchor day is not the first.
    """
    found = []
    month = now.replace(day=1)
    for _ in range(count + 1):
        found.append(f"{month:%Y-%m}")
        month = (month - timedelta(days=1)).replace(day=1)
    return found[::-1]
