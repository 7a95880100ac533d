"""Jobs of the steward that look at what is stored: conservation, rejects, reconciliation."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from clickhouse_connect.driver.client import Client

from cli.context import catalog_of
from metering.metrics import StewardMetrics
from metering.settings import Settings
from reconcile.gauges import newest_runs, set_gauges
from sinks.clickhouse import clickhouse_errors, connect_clickhouse
from sinks.conservation.job import conservation_job
from sinks.rejects_job import rejects_job

_ANSWER_S = 600
Run = Callable[[], None]


def conservation(settings: Settings, metrics: StewardMetrics) -> Run:
    """Compare a range of totals with raw history each time, and all offsets once a round."""
    return connecting(
        settings,
        lambda client: conservation_job(
            client, catalog_of(settings), metrics=metrics, clock_s=time.time
        ),
    )


def rejects(settings: Settings, metrics: StewardMetrics) -> Run:
    """Count the rejected events that wait to be mended."""
    return connecting(
        settings,
        lambda client: rejects_job(client, metrics=metrics, now=partial(datetime.now, UTC)),
    )


def reconciliation(settings: Settings, metrics: StewardMetrics) -> Run:
    """Show what the newest reconciliation found."""

    def job(client: Client) -> Run:
        def run() -> None:
            with clickhouse_errors("reading the newest reconciliation"):
                found = newest_runs(client)
            set_gauges(metrics, found)

        return run

    return connecting(settings, job)


def connecting(settings: Settings, make: Callable[[Client], Run]) -> Run:
    """A job that is made when it first runs, on a connection of its own.

    So a server that is away keeps no steward from starting.
    """
    made: list[Run] = []

    def run() -> None:
        if not made:
            made.append(make(connect_clickhouse(settings, answer_s=_ANSWER_S)))
        made[0]()

    return run
