"""What the billing periods that are under way come to so far, for gauges: as many as plans.

A charge is what finance reads in `period_charges`, with base fees; gauges show it rounded.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import clickhouse_errors

_SPEND = """
SELECT b.plan, b.currency, toString(sum(b.base_fee) + sum(r.charged)), count()
FROM
(
    SELECT customer_id, period_start, plan, currency, base_fee FROM billing_periods FINAL
    WHERE period_start <= {now:DateTime('UTC')} AND period_end > {now:DateTime('UTC')}
) AS b
LEFT JOIN
(
    SELECT customer_id, period_start, sum(charge) AS charged FROM rated_parts
    WHERE period_start IN (SELECT period_start FROM billing_periods FINAL
        WHERE period_start <= {now:DateTime('UTC')} AND period_end > {now:DateTime('UTC')})
    GROUP BY customer_id, period_start
) AS r ON r.customer_id = b.customer_id AND r.period_start = b.period_start
GROUP BY b.plan, b.currency
ORDER BY count() DESC, b.plan, b.currency
"""
_USAGE = """
SELECT meter, sum(events), uniq(customer_id)
FROM usage_hours FINAL
WHERE window_start >= (SELECT toStartOfHour(complete_to) - INTERVAL 1 HOUR FROM complete_to)
    AND window_start < (SELECT toStartOfHour(complete_to) FROM complete_to)
GROUP BY meter ORDER BY sum(events) DESC, meter
"""


class Spend(NamedTuple):
    """By (plan, currency): amount so far and customers; by meter: events and customers.

    The greatest first: gauges show those, and count what they leave out.
    """

    amounts: Mapping[tuple[str, ...], Decimal]
    customers: Mapping[tuple[str, ...], int]
    events: Mapping[str, int]
    active: Mapping[str, int]


def spend_so_far(client: Client, *, now: datetime) -> Spend:
    """What is charged in periods that hold `now`, and usage of the last complete hour.

    Raises `DependencyDown`.
    """
    with clickhouse_errors("reading what periods come to"):
        charged = client.query(_SPEND, parameters={"now": now}).result_rows
        used = client.query(_USAGE).result_rows
    return Spend(
        {(plan, currency): Decimal(amount) for plan, currency, amount, _ in charged},
        {(plan, currency): int(count) for plan, currency, _, count in charged},
        {meter: int(events) for meter, events, _ in used},
        {meter: int(count) for meter, _, count in used},
    )
