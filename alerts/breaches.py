"""SQL that says which windows breach: those that stray further than is normal for their pair."""

from decimal import Decimal
from typing import Any, NamedTuple

from metering.catalog import Catalog, Sensitivity

#: How much harder (above 1) or easier it is to breach, by sensitivity: deviations, and the factor
#: by which usage has to be above or below the usual.
_FACTORS: dict[Sensitivity, tuple[str, str, str]] = {
    Sensitivity.NORMAL: ("1", "1.9", "0.4"),
    Sensitivity.HIGH: ("0.75", "1.5", "0.55"),
    Sensitivity.LOW: ("1.5", "3", "0.2"),
}
#: Weeks of history before which a pair is not judged: as many for what is usual as for what is
#: normal to stray.
WEEKS_MIN = 8
#: Deviations that any breach takes, and by how much it passes what was normal.
DEVIATIONS_MIN = "4.5"
NORMAL_FACTOR = "1.5"
#: Which of the wildest weeks is the measure: upwards the first may be an incident.
NORMAL_WEEK = {"up": 2, "down": 1}
EVIDENCE_MIN = {"up": "14", "down": "6"}
#: Marks in a row at which a pair breaches before anybody is told: what comes an hour late is none.
MARKS_IN_A_ROW = 2
#: An open breach holds while it is beyond this part of the limit.
_HOLD = "0.6"
_EMPTY_FACTOR = "5"

BREACHES = f"""
WITH normal AS
(
    SELECT
        week + INTERVAL ahead WEEK AS for_week, pair, scale,
        arrayReverseSort(groupArray(up))[{NORMAL_WEEK["up"]}] AS up,
        arrayReverseSort(groupArray(down))[{NORMAL_WEEK["down"]}] AS down
    FROM
    (
        SELECT week, pair, scale, max(up) AS up, max(down) AS down
        FROM usage_stray_weeks
        WHERE week >= toMonday({{first:DateTime('UTC')}} - INTERVAL 1 DAY) - INTERVAL 8 WEEK
            AND week < toMonday({{last:DateTime('UTC')}})
        GROUP BY week, pair, scale
    )
    ARRAY JOIN range(1, 9) AS ahead
    WHERE for_week BETWEEN toMonday({{first:DateTime('UTC')}} - INTERVAL 1 DAY)
        AND toMonday({{last:DateTime('UTC')}})
    GROUP BY for_week, pair, scale
),
judged AS
(
    SELECT
        s.mark AS mark, s.pair AS pair, p.customer_id AS customer_id, p.meter AS meter,
        s.scale AS scale, s.strays AS strays, s.q AS q, s.n AS n, s.high AS high, s.low AS low,
        strays > 0 AS is_up,
        indexOf({{meters:Array(String)}}, meter) AS place,
        {{deviations:Array(Float64)}}[place] AS factor,
        toFloat64({{minimum:Array(Float64)}}[place]) AS minimum,
        {NORMAL_FACTOR} * if(is_up, b.up, b.down) + 0.3 AS normal_bar,
        factor * greatest({DEVIATIONS_MIN}, normal_bar) AS bar,
        if(is_up, {EVIDENCE_MIN["up"]}, {EVIDENCE_MIN["down"]}) AS evidence_min,
        if(is_up, s.q - s.high, s.low - s.q) >= minimum AS matters,
        if(s.is_usual,
            abs(strays) > bar AND s.evidence > factor * evidence_min
                AND if(is_up, s.q > {{above:Array(Float64)}}[place] * s.high,
                    s.q < {{below:Array(Float64)}}[place] * s.low),
            s.q > {_EMPTY_FACTOR} * factor * s.usual_week AND s.q > 20 * s.unit
                AND (s.usual_week > 0 OR minimum > 0)) AND matters AS fires,
        fires OR (s.is_usual AND abs(strays) > {_HOLD} * bar AND matters
            AND if(is_up, s.q > 1.5 * s.high, s.q < 0.6 * s.low)) AS holds
    FROM usage_strays AS s FINAL
    INNER JOIN
    (
        SELECT pair, any(customer_id) AS customer_id, any(meter) AS meter
        FROM usage_pairs GROUP BY pair
    ) AS p ON p.pair = s.pair
    LEFT JOIN normal AS b
        ON b.pair = s.pair AND b.scale = s.scale AND b.for_week = toMonday(s.mark)
    WHERE s.mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL {MARKS_IN_A_ROW - 1} HOUR
            AND {{last:DateTime('UTC')}}
        AND s.weeks >= {WEEKS_MIN} AND place > 0
)
SELECT
    mark, customer_id, meter, is_up, is_silent,
    arrayCount(t -> t > mark - INTERVAL {MARKS_IN_A_ROW} HOUR AND t <= mark, firing)
        = {MARKS_IN_A_ROW} AS is_new,
    hours, observed, expected
FROM
(
    SELECT
        mark, pair, customer_id, meter, is_up,
        NOT is_up AND max(fires) AND minIf(n, fires) = 0 AS is_silent,
        groupArrayIf(mark, fired) OVER (PARTITION BY pair, is_up) AS firing,
        max(fires) AS fired,
        argMax(scale, (fires, abs(strays))) AS hours,
        argMax(q, (fires, abs(strays))) AS observed,
        argMax(if(is_up, high, low), (fires, abs(strays))) AS expected
    FROM judged WHERE holds
    GROUP BY mark, pair, customer_id, meter, is_up
)
WHERE mark >= {{first:DateTime('UTC')}}
ORDER BY is_new DESC, mark, customer_id, meter
LIMIT {{limit:UInt64}}
"""


class Breach(NamedTuple):
    """A (customer, meter) pair whose window ending at `mark` is beyond what is normal."""

    mark: Any
    customer_id: str
    meter: str
    is_up: bool
    is_silent: bool
    is_new: bool
    hours: int
    observed: Decimal
    expected: Decimal


def meter_parameters(catalog: Catalog) -> dict[str, object]:
    """What the catalog says of each meter, as parameters of `BREACHES`; meters that are off lack.

    Numbers are text on the way: ClickHouse reads them.
    """
    judged = [
        each for each in catalog.meters.values() if each.alerts.sensitivity is not Sensitivity.OFF
    ]
    factors = [_FACTORS[each.alerts.sensitivity] for each in judged]
    return {
        "meters": [each.key for each in judged],
        "deviations": [float(each[0]) for each in factors],
        "above": [float(each[1]) for each in factors],
        "below": [float(each[2]) for each in factors],
        "minimum": [float(each.alerts.minimum) for each in judged],
    }
