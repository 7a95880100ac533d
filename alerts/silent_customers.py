"""Silence that goes on, and customers of whom nothing comes any more, of any meter.

The latter are one cause, and more urgent than a meter; looked for among those of whom a meter fell
silent.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from clickhouse_connect.driver.client import Client

from alerts.breaches import Breach
from alerts.marks import PAIR, SCALES
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

#: Silences that are open, and that no usage ended in the hour before `mark`.
_STILL_SILENT = f"""
WITH heard AS (SELECT pair FROM usage_marks WHERE mark = {{mark:DateTime('UTC')}} AND n[1] > 0)
SELECT DISTINCT customer_id, toString(meter) FROM alert_findings
WHERE kind = 'silence' AND state = 'opened'
    AND finding_id NOT IN (SELECT finding_id FROM alert_findings WHERE state = 'resolved')
    AND if(meter = '',
        customer_id NOT IN (SELECT customer_id FROM usage_pairs WHERE pair IN heard),
        {PAIR} NOT IN heard)
"""


def with_open_silence(
    client: Client, breaches: Sequence[Breach], *, mark: datetime
) -> list[Breach]:
    """The same breaches; where one goes on that was told of as silence, it is silence still.

    In hours that are usually nearly empty only longer windows stray, and these hold what came
    before: of itself that looks like a drop. Raises `DependencyDown`.
    """
    if not any(not each.is_up and not each.is_silent for each in breaches):
        return list(breaches)
    with clickhouse_errors("asking which silence goes on"):
        rows = client.query(_STILL_SILENT, parameters={"mark": mark}).result_rows
    silent = {(str(customer), str(meter)) for customer, meter in rows}
    found = [
        each._replace(is_silent=True)
        if not each.is_up and (each.customer_id, each.meter) in silent
        else each
        for each in breaches
    ]
    customers = {each.customer_id for each in found if each.is_silent and each.meter}
    known = {each.customer_id for each in found if not each.meter}
    return found + [
        Breach(
            mark, customer, "", is_up=False, is_silent=True, is_new=False, hours=1,
            observed=Decimal(0), expected=Decimal(0),
        )
        for customer, meter in silent
        if not meter and customer in customers - known
    ]  # fmt: skip


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
