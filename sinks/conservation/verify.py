"""The law of conservation, checked: what was consumed is what was counted or kept, exactly.

    cuts       how far each partition is durable: read first, everything is compared up to there
    balances   offsets consumed = accepted + duplicates + conflicts + rejected + suppressed
               + control records
    totals     usage_totals = raw history, aggregated; both ways
    distinct   a distinct value counts once a month
    identity   accepted = distinct identities in raw
    originals  what a recorded duplicate is a copy of is in raw

The answer is right while workers are running (see `totals` for why).
"""

from collections.abc import Callable

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from sinks.conservation.cuts import read_cuts
from sinks.conservation.distinct import check_distinct, check_identities
from sinks.conservation.findings import Findings
from sinks.conservation.offsets import balances
from sinks.conservation.originals import check_originals
from sinks.conservation.totals import compare_totals

Say = Callable[[str, float], None]


def verify(
    client: Client, catalog: Catalog, *, shown_max: int = 50,
    say: Say = lambda _doing, _share: None,
) -> Findings:  # fmt: skip
    """Check all of it. `say` hears what is being done and which share of the work is behind.

    Lists in the findings hold the first `shown_max`, counts hold all. Raises `DependencyDown`.
    """
    cuts = read_cuts(client)
    found = Findings()
    say("offsets", 0.0)
    found.balances = balances(client, cuts)
    found.totals = compare_totals(
        client, catalog, cuts=cuts, shown_max=shown_max,
        say=lambda done, of: say("totals", 0.3 + 0.5 * done / of),
    )  # fmt: skip
    say("distinct values", 0.8)
    check_distinct(client, catalog, found=found, shown_max=shown_max)
    say("identities", 0.9)
    check_identities(client, found, shown_max=shown_max)
    say("originals", 0.95)
    check_originals(client, cuts, found=found, shown_max=shown_max)
    say("done", 1.0)
    return found
