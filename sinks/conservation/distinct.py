"""Two checks of raw history by itself: distinct values count once, identities stand once."""

import time

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from sinks.clickhouse import clickhouse_errors
from sinks.conservation.findings import DistinctDifference, Findings, SharedIdentity

#: Longer than a flush gathers while its worker catches up, and is written.
_PAUSE_S = 10.0
_SPILL = {"max_bytes_before_external_group_by": 1_000_000_000}

_DISTINCT = """
SELECT toString(customer_id), toString(meter), `group`,
       toString(part_start) AS part,
       uniqExact(JSONExtractString(dimensions, %(dimension)s)) AS expected,
       countIf(counted) AS got
FROM billable_events
WHERE meter = %(meter)s
GROUP BY customer_id, meter, `group`, part HAVING expected != got
ORDER BY 1, 3, 4
"""
#: Only an identity made of a subject can be of several customers: after its binding was changed.
_SHARED = """
SELECT count(), groupArray(%(shown)s)((hex(identity), customers)) FROM
(
    SELECT identity, groupUniqArray(customer_id) AS customers
    FROM usage_events FINAL WHERE subject != '' GROUP BY identity HAVING count() > 1
)
"""


def check_distinct(
    client: Client, catalog: Catalog, *, found: Findings, shown_max: int, pause_s: float = _PAUSE_S
) -> None:
    """Each unique_count meter: counted events of a part of a period = its distinct values in raw.

    Totals add `counted` up per window, so with the totals this holds for sums over windows. An
    event that holds a value may be in flight while a later one with the value is written; what
    differs counts only if it still does after `pause_s`. Raises `DependencyDown`.
    """
    differing = _differing(client, catalog)
    if differing:
        time.sleep(pause_s)
        first = {_key(each) for each in differing}
        differing = [each for each in _differing(client, catalog) if _key(each) in first]
    found.distinct_differing = len(differing)
    found.distinct = differing[:shown_max]


def check_identities(client: Client, found: Findings, *, shown_max: int) -> None:
    """No identity is in raw twice. Its key keeps it from being so within a customer and meter."""
    with clickhouse_errors("looking for identities that several customers hold"):
        rows = client.query(_SHARED, parameters={"shown": shown_max}, settings=_SPILL).result_rows
    count, shown = rows[0]
    found.identities_shared = int(count)
    found.shared = [SharedIdentity(identity, tuple(sorted(who))) for identity, who in shown]


def _differing(client: Client, catalog: Catalog) -> list[DistinctDifference]:
    found: list[DistinctDifference] = []
    for meter in catalog.meters.values():
        if meter.counted_dimension is None:
            continue
        parameters = {"meter": meter.key, "dimension": meter.counted_dimension}
        with clickhouse_errors(f"counting distinct values of {meter.key}"):
            rows = client.query(_DISTINCT, parameters=parameters, settings=_SPILL).result_rows
        found += [DistinctDifference(*row) for row in rows]
    return found


def _key(difference: DistinctDifference) -> tuple[str, str, str, str]:
    return (difference.customer_id, difference.meter, difference.group, difference.part)
