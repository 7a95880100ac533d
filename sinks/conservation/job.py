"""The law of conservation as a job that runs all the time, a share of the work each time.

A whole `verify` reads all of raw history. This compares the totals of one range of customers (some
two million raw rows) at a time, and the rest of the law at the beginning of each round over all
ranges. What is found shows at once, and stays until a whole round found it no more.
"""

from collections.abc import Callable

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from metering.metrics import StewardMetrics
from sinks.conservation.cuts import read_cuts
from sinks.conservation.distinct import check_distinct, check_identities
from sinks.conservation.findings import Cut, Findings, TotalsResult
from sinks.conservation.offsets import balances
from sinks.conservation.originals import check_originals
from sinks.conservation.totals import compare_range, comparison_parameters, customer_ranges

_SHOWN_MAX = 1


class _Job:
    """Between runs: which ranges of the round are left, and what it found so far."""

    def __init__(
        self, client: Client, catalog: Catalog, *, metrics: StewardMetrics,
        clock_s: Callable[[], float],
    ) -> None:  # fmt: skip
        self._client = client
        self._catalog = catalog
        self._metrics = metrics
        self._clock_s = clock_s
        self._left: list[tuple[str | None, str | None]] = []
        self._found = TotalsResult()
        self._differing_before = 0

    def run(self) -> None:
        cuts = read_cuts(self._client)
        if not self._left:
            self._begin(cuts)
        if cuts:
            compare_range(
                self._client, self._found, customers=self._left[0], shown_max=_SHOWN_MAX,
                bound=comparison_parameters(self._client, self._catalog, cuts=cuts),
            )  # fmt: skip
        self._left = self._left[1:]
        metrics, differing = self._metrics, self._found.differing
        metrics.conservation_compared.set(self._found.compared)
        if self._left:
            differing = max(differing, self._differing_before)
        else:
            self._differing_before = differing
            metrics.conservation_round.set(self._clock_s())
        metrics.conservation.labels("totals").set(differing)

    def _begin(self, cuts: list[Cut]) -> None:
        """A new round: what is not by customer, all at once."""
        found = Findings()
        found.balances = balances(self._client, cuts)
        check_distinct(self._client, self._catalog, found=found, shown_max=_SHOWN_MAX)
        check_identities(self._client, found, shown_max=_SHOWN_MAX)
        check_originals(self._client, cuts, found=found, shown_max=_SHOWN_MAX)
        offsets = sum(each.missing + each.doubled for each in found.balances)
        for check, count in (
            ("offsets", offsets), ("distinct", found.distinct_differing),
            ("identities", found.identities_shared), ("originals", found.originals_lost),
        ):  # fmt: skip
            self._metrics.conservation.labels(check).set(count)
        self._found = TotalsResult()
        self._left = customer_ranges(self._client)


def conservation_job(
    client: Client, catalog: Catalog, *, metrics: StewardMetrics, clock_s: Callable[[], float]
) -> Callable[[], None]:
    """A function for the steward to call every few minutes, from one thread.

    `clock_s` gives Unix seconds. A run raises `DependencyDown`; the next one then does the same
    range of customers.
    """
    return _Job(client, catalog, metrics=metrics, clock_s=clock_s).run
