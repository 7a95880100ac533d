"""Are the totals of some customers what raw history adds up to? As `totals`, for whom is asked."""

from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from metering.catalog import Catalog
from sinks.clickhouse import clickhouse_errors
from sinks.conservation.cuts import CUTS
from sinks.conservation.findings import Amount, Cut, TotalDifference
from sinks.conservation.recheck import MovingTotal, recheck
from sinks.conservation.totals import COMPARED, comparison_parameters

_ROWS = f"""
WITH cuts AS ({CUTS})
SELECT toString(customer_id), toString(meter), `group`, toString(window_start), toString(stream),
       partition, toString(aggregation), is_moving, toUnixTimestamp(window_start) AS start_s,
       (toString(r_quantity), r_events, r_late, toString(r_first), toString(r_last)),
       (toString(t_quantity), t_events, t_late, toString(t_first), toString(t_last))
FROM ({COMPARED.replace("{range}", "customer_id IN %(customers)s")})
WHERE NOT is_right
"""


def differing_totals(
    client: Client, catalog: Catalog, *, cuts: list[Cut], customers: Sequence[str]
) -> list[TotalDifference]:
    """Windows of these customers whose quantity or number of events is wrong, in any period.

    What moved on beyond the cuts is compared at its own `absorbed_offset`, so the answer is right
    while workers are running. Raises `DependencyDown`.
    """
    parameters = {
        **comparison_parameters(client, catalog, cuts=cuts or [Cut("", 0, 0, 0)]),
        "customers": list(customers),
    }
    with clickhouse_errors("comparing totals of customers with raw history"):
        rows = client.query(_ROWS, parameters=parameters).result_rows
    found: list[TotalDifference] = []
    moving: list[MovingTotal] = []
    for *key, is_moving, start_s, expected, got in rows:
        customer_id, meter, group, window_start, stream, partition, aggregation = key
        if is_moving:
            moving.append(MovingTotal(customer_id, meter, group, start_s, stream, partition))
            continue
        difference = TotalDifference(
            customer_id, meter, group, window_start, stream, partition, aggregation,
            expected=Amount(*expected), got=Amount(*got),
        )  # fmt: skip
        if (expected[0], expected[1]) != (got[0], got[1]):
            found.append(difference)
    return found + (recheck(client, moving) if moving else [])
