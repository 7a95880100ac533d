"""SQL that says which windows breach: those that stray further than is normal for their pair."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from alerts.marks import SCALES
from metering.catalog import Meter, Sensitivity

#: How much harder (above 1) or easier it is to breach, by sensitivity: deviations, and the factor
#: by which usage has to be above or below the usual.
_FACTORS: dict[Sensitivity, tuple[str, str, str]] = {
    Sensitivity.NORMAL: ("1", "1.9", "0.45"),
    Sensitivity.HIGH: ("0.75", "1.5", "0.55"),
    Sensitivity.LOW: ("1.5", "3", "0.2"),
}
#: Weeks in the profile before which nobody is told of a pair; with the week that its first windows
#: take, eight of history.
WEEKS_MIN = 7
#: Deviations that any breach takes, and by how much it passes the pair's noise, by window
#: (`SCALES`): those of a few hours pass it more often.
DEVIATIONS_MIN = {"up": [3, 3, 4, 3.5, 3.5, 3.5], "down": [5.5] * len(SCALES)}
NOISE_FACTOR = {"up": [2.2, 2.2, 1.8, 1.2, 1.2, 1.2], "down": [2, 2, 2, 1.5, 1.5, 1.5]}
#: Events more or fewer than usual that any breach takes: with less, chance explains too much.
EVENTS_MIN = {"up": "60", "down": "30"}
#: Marks in a row at which a pair breaches before anybody is told: what comes an hour late is none.
MARKS_IN_A_ROW = 2
#: An open breach holds while it is beyond this part of the limit.
_HOLD = "0.6"
#: A window that usually holds less than this part of what the hours of its day do is empty: usage
#: in it is a spike only where the day strays by so many deviations too, else it came elsewhen. One
#: that is empty beside the week has to hold such a part of a usual week: rhythms differ.
_EMPTY_SHARE, _EMPTY_DAY, _EMPTY_WEEK = "0.2", "2", "0.6"
#: Deviations up to which nothing holds, before names are looked up: fewer of them are needed then.
_LEAST_HELD = float(_HOLD) * min(min(each) for each in DEVIATIONS_MIN.values())

_BREACHES = f"""
WITH judged AS
(
    SELECT
        s.mark AS mark, s.pair AS pair, p.customer_id AS customer_id, p.meter AS meter,
        s.scale AS scale, abs(s.deviations) AS strays, s.q AS q, s.n AS n, s.usual AS usual,
        s.deviations > 0 AS is_up,
        indexOf({{meters:Array(String)}}, meter) AS place,
        {{deviations:Array(Float64)}}[place] AS factor,
        toFloat64({{minimum:Array(Float64)}}[place]) AS minimum,
        indexOf({list(SCALES)}, scale) AS at,
        factor * if(is_up,
            greatest({DEVIATIONS_MIN["up"]}[at], {NOISE_FACTOR["up"]}[at] * s.noise),
            greatest({DEVIATIONS_MIN["down"]}[at], {NOISE_FACTOR["down"]}[at] * s.noise)) AS bar,
        scale < 24 AND s.usual < {_EMPTY_SHARE} * s.usual_day * scale / 24 AS is_empty,
        s.usual < {_EMPTY_SHARE} * s.usual_week * scale / 168 AS is_rare,
        abs(s.q - s.usual) >= minimum AS matters,
        matters AND strays > bar
            AND abs(s.q - s.usual)
                > s.unit * factor * if(is_up, {EVENTS_MIN["up"]}, {EVENTS_MIN["down"]})
            AND if(is_up,
                s.q > {{above:Array(Float64)}}[place] * s.usual
                    AND (NOT is_empty OR s.day > {_EMPTY_DAY})
                    AND (NOT is_rare OR s.q > {_EMPTY_WEEK} * s.usual_week)
                    AND (s.usual_week > 0 OR minimum > 0),
                s.q < {{below:Array(Float64)}}[place] * s.usual) AS fires,
        fires OR (strays > {_HOLD} * bar AND matters
            AND if(is_up, s.q > 1.5 * s.usual, s.q < 0.6 * s.usual)) AS holds
    FROM %s
    INNER JOIN
    (
        SELECT pair, any(customer_id) AS customer_id, any(meter) AS meter
        FROM usage_pairs
        WHERE pair IN (
            SELECT pair FROM usage_deviations
            WHERE mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL {MARKS_IN_A_ROW - 1} HOUR
                AND {{last:DateTime('UTC')}}
                AND abs(deviations) > {{least:Float64}})
        GROUP BY pair
    ) AS p ON p.pair = s.pair
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
        argMax(scale, (fires, strays)) AS hours,
        argMax(q, (fires, strays)) AS observed,
        argMax(usual, (fires, strays)) AS expected
    FROM judged WHERE holds
    GROUP BY mark, pair, customer_id, meter, is_up
)
WHERE mark >= {{first:DateTime('UTC')}}
    AND (is_new OR (customer_id, meter) IN (
        SELECT customer_id, meter FROM alert_findings
        WHERE kind IN ('spike', 'drop', 'silence') AND finding_id NOT IN
            (SELECT finding_id FROM alert_findings WHERE state = 'resolved')))
ORDER BY is_new DESC, mark, customer_id, meter
LIMIT {{limit:UInt64}}
"""


def breaches_of(deviations: str) -> str:
    """SQL of the breaches among deviations: what stands behind FROM, named `s`."""
    return _BREACHES.replace("%s", deviations)


#: Breaches at marks `first` to `last`, both inclusive.
BREACHES = breaches_of("usage_deviations AS s FINAL")


class Breach(NamedTuple):
    """A (customer, meter) pair whose window ending at `mark` is beyond what is normal."""

    mark: datetime
    customer_id: str
    meter: str
    is_up: bool
    is_silent: bool
    is_new: bool
    hours: int
    observed: Decimal
    expected: Decimal


def meter_parameters(meters: Iterable[Meter]) -> dict[str, object]:
    """What the catalog says of these meters, as parameters of `BREACHES`; those that are off lack.

    Numbers are text on the way: ClickHouse reads them.
    """
    judged = [each for each in meters if each.alerts.sensitivity is not Sensitivity.OFF]
    factors = [_FACTORS[each.alerts.sensitivity] for each in judged]
    return {
        "meters": [each.key for each in judged],
        "deviations": [float(each[0]) for each in factors],
        "above": [float(each[1]) for each in factors],
        "below": [float(each[2]) for each in factors],
        "minimum": [float(each.alerts.minimum) for each in judged],
        "least": min((float(each[0]) for each in factors), default=1) * _LEAST_HELD,
    }
