"""How many rejected events wait to be mended, as a job of the steward."""

from collections.abc import Callable
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from metering.metrics import StewardMetrics
from metering.rejection import RejectionCode
from sinks.rejects import RejectFilter, Rejects

_SINCE = timedelta(days=30)


def rejects_job(
    client: Client, *, metrics: StewardMetrics, now: Callable[[], datetime]
) -> Callable[[], None]:
    """A function for the steward to call every few minutes. A run raises `DependencyDown`.

    `now` gives the time with its zone. A code that nothing waits for shows 0.
    """

    def run() -> None:
        found = Rejects(client).counts(RejectFilter(since=now() - _SINCE))
        waiting = {each.code: each.count - each.replayed for each in found}
        for code in RejectionCode:
            metrics.rejects_waiting.labels(str(code)).set(waiting.get(str(code), 0))

    return run
