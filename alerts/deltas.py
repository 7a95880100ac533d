"""Deltas, period over period: usage of a billing period so far by the same stretch of the last one.

The stretch is the whole days since the period began, from its third and its tenth part on; it is
summed from the marks that end them, so a day of a pair is one row. Marks are whole hours of UTC: a
period that begins within one (in zones with half hours) is taken from that hour's beginning, and so
is the last one. Compared once a day.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from alerts.breaches import meter_parameters
from alerts.profiles import DAY
from alerts.progress import in_utc
from metering.alert import Finding, FindingKey, FindingKind
from metering.catalog import Catalog
from sinks.clickhouse import clickhouse_errors

#: Days of a period before it is compared, and the part of it.
_DAYS_MIN = 3
_PART_MIN = 10
#: Events that a stretch has to have more or fewer.
_EVENTS_MIN = 100

_DELTAS = f"""
WITH stretches AS
(
    SELECT
        c.customer_id AS customer_id, c.period_start AS started,
        toStartOfHour(c.period_start) AS since, toStartOfHour(p.period_start) AS before,
        least(
            intDiv(dateDiff('hour', since, {{mark:DateTime('UTC')}}), 24),
            intDiv(dateDiff('hour', before, since), 24)) AS days
    FROM (SELECT * FROM billing_periods FINAL) AS c
    INNER JOIN (SELECT * FROM billing_periods FINAL) AS p
        ON p.customer_id = c.customer_id AND p.period_end = c.period_start
    WHERE c.period_start <= {{mark:DateTime('UTC')}} AND c.period_end > {{mark:DateTime('UTC')}}
        AND days >= greatest({_DAYS_MIN},
            dateDiff('day', c.period_start, c.period_end) / {_PART_MIN})
),
ends AS
(
    SELECT DISTINCT toDateTime(arrayJoin(arrayConcat(
        arrayMap(k -> since + INTERVAL k DAY, range(1, days + 1)),
        arrayMap(k -> before + INTERVAL k DAY, range(1, days + 1)))), 'UTC') AS mark
    FROM stretches
),
daily AS
(
    SELECT
        s.customer_id AS customer_id, p.meter AS meter, s.started AS started, s.days AS days,
        m.mark > s.since AS is_now, m.is_level AS is_level,
        toFloat64(m.q[{DAY}]) AS q, toFloat64(m.n[{DAY}]) AS n
    FROM (SELECT * FROM usage_marks FINAL WHERE mark IN (SELECT mark FROM ends)) AS m
    INNER JOIN
    (
        SELECT pair, any(customer_id) AS customer_id, any(meter) AS meter
        FROM usage_pairs GROUP BY pair
    ) AS p ON p.pair = m.pair
    INNER JOIN stretches AS s ON s.customer_id = p.customer_id
    WHERE (m.mark > s.since AND m.mark <= s.since + toIntervalDay(s.days)
            AND dateDiff('hour', s.since, m.mark) % 24 = 0)
        OR (m.mark > s.before AND m.mark <= s.before + toIntervalDay(s.days)
            AND dateDiff('hour', s.before, m.mark) % 24 = 0)
)
SELECT customer_id, meter, started, stretch, observed, expected
FROM
(
    SELECT
        customer_id, meter, started, any(days) AS stretch, any(is_level) AS of_levels,
        if(of_levels, maxIf(q, is_now), sumIf(q, is_now)) AS observed,
        if(of_levels, maxIf(q, NOT is_now), sumIf(q, NOT is_now)) AS expected,
        sum(q) / greatest(sum(n), 1) AS unit,
        indexOf({{meters:Array(String)}}, meter) AS place
    FROM daily
    GROUP BY customer_id, meter, started
)
WHERE place > 0 AND (expected > 0 OR {{minimum:Array(Float64)}}[place] > 0)
    AND abs(observed - expected) >= {{minimum:Array(Float64)}}[place]
    AND (of_levels OR abs(observed - expected) > {_EVENTS_MIN} * unit)
    AND (observed > {{above:Array(Float64)}}[place] * expected
        OR observed < {{below:Array(Float64)}}[place] * expected)
ORDER BY customer_id, meter
LIMIT {{limit:UInt64}}
"""


class Delta(NamedTuple):
    """Usage of `days` days of the period by those of the last one; rounded."""

    customer_id: str
    meter: str
    period_start: datetime
    days: int
    observed: Any
    expected: Any


def deltas(client: Client, catalog: Catalog, *, mark: datetime, limit: int) -> list[Delta]:
    """Pairs that went up or down by as much as a window has to, to be told of.

    `mark` is a whole hour that usage is complete to. Raises `DependencyDown`.
    """
    parameters = {"mark": mark, "limit": limit, **meter_parameters(catalog.meters.values())}
    with clickhouse_errors("comparing billing periods"):
        rows = client.query(_DELTAS, parameters=parameters).result_rows
    return [
        Delta(customer, meter, in_utc(started), int(days), observed, expected)
        for customer, meter, started, days, observed, expected in rows
    ]


def finding_of(delta: Delta, *, unit: str, complete_to: datetime) -> Finding:
    """The finding; the same for as long as the period is, one for up and one for down."""
    direction = "up" if delta.observed > delta.expected else "down"
    key = FindingKey(FindingKind.DELTA, delta.customer_id, delta.meter, "", direction)
    return Finding(
        key, delta.period_start, delta.days * 24, observed=Decimal(f"{delta.observed:.9g}"),
        expected=Decimal(f"{delta.expected:.9g}"), unit=unit, complete_to=complete_to,
    )  # fmt: skip
