"""Customers of whom nothing comes any more, of any meter: one cause, and more urgent than a meter.

Looked for among those of whom a meter fell silent.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from clickhouse_connect.driver.client import Client

from alerts.breaches import Breach
from alerts.marks import SCALES
from alerts.profiles import UNIT
from sinks.clickhouse import clickhouse_errors

#: Events of every meter in windows of each length, and what was expected at least.
_ALL_METERS = f"""
SELECT p.customer_id, count(), sumForEach(if(empty(m.n), arrayResize([toFloat32(0)], 6, 0), m.n)),
    sumForEach(arrayMap(x -> x / unit, low))
FROM
(
    SELECT pair, any(customer_id) AS customer_id FROM usage_pairs
    WHERE pair IN (SELECT pair FROM usage_pairs WHERE customer_id IN {{customers:Array(String)}})
    GROUP BY pair
) AS p
INNER JOIN
(
    SELECT pair, low, {UNIT.format("")} AS exact_unit, if(exact_unit > 0, exact_unit, 1) AS unit
    FROM usage_profiles FINAL
    WHERE mark = {{mark:DateTime('UTC')}} - INTERVAL 1 WEEK AND high[6] > 0
) AS f ON f.pair = p.pair
LEFT JOIN
(
    SELECT pair, n FROM usage_marks FINAL WHERE mark = {{mark:DateTime('UTC')}}
) AS m ON m.pair = p.pair
GROUP BY p.customer_id
"""


def silent_customers(client: Client, breaches: Sequence[Breach], *, mark: datetime) -> list[Breach]:
    """Of every customer with at least two meters and usage of none, a breach with meter "".

    Its window is the shortest of the silent meters', its numbers are events. Raises
    `DependencyDown`.
    """
    silent: dict[str, list[Breach]] = {}
    for each in breaches:
        if each.is_silent:
            silent.setdefault(each.customer_id, []).append(each)
    if not silent:
        return []
    parameters = {"customers": list(silent), "mark": mark}
    with clickhouse_errors("asking whether customers are silent"):
        rows = client.query(_ALL_METERS, parameters=parameters).result_rows
    found = []
    for customer, meters, events, expected in rows:
        hours = min(each.hours for each in silent[customer])
        at = SCALES.index(hours)
        if meters > 1 and not events[at]:
            is_new = any(each.is_new for each in silent[customer])
            found.append(
                Breach(
                    mark, customer, "", is_up=False, is_silent=True, is_new=is_new, hours=hours,
                    observed=Decimal(0), expected=Decimal(f"{expected[at]:.9g}"),
                )
            )  # fmt: skip
    return found
