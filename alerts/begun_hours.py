"""SQL that judges windows which end in an hour that has begun, over what of it is complete.

A window that strays at a mark is followed into the hour after it:

    observed    usage of its whole hours + usage of the begun hour until now
    expected    what is usual for its whole hours + share * what is usual for the begun hour

The *share* is the part of the hour that has passed, unless the pair's own hours say otherwise: not
everybody spreads evenly. Between the first and the last event of the same hour of earlier weeks
usage is taken for even, so a batch on the hour is due at once, and one at half past is not due
before. A rise is held against the greatest of these shares, and a fall against the least; where
the pair's own events say that more of the hour has passed, a rise is held against that.

What the begun hour holds has to stray the same way by itself: an hour that is over is no news of
the next. Nothing of this is kept: profiles and noise learn from whole hours, each once.
"""

from collections.abc import Iterable

from alerts.breaches import breaches_of
from alerts.deviations import scaled
from alerts.judgement import TREND_MAX
from alerts.marks import PAIR
from alerts.profiles import DAY, WEEK

#: Seconds of an hour that have to be complete before they are judged.
ELAPSED_S_MIN = 900
#: Weeks whose hours say how usage spreads within one; a fall is told of where all of these are.
_WEEKS, _WEEKS_MIN = 4, 3
#: What the begun hour has to stray by itself: deviations, and the factors that hold a breach.
_OWN_DEVIATIONS, _OWN_ABOVE, _OWN_BELOW = 2, 1.5, 0.6

_MARK = "{first:DateTime('UTC')} - INTERVAL 1 HOUR"
_ELAPSED = "{elapsed:UInt32}"


_SHARES = "arrayMap(x -> greatest(0, least(1, (seen_s - x.1) / greatest(x.2 - x.1, 1))), spans)"


def _hours(table: str, *, weeks_ago: Iterable[int]) -> str:
    """SQL of hours of pairs that stray: their usage, and the seconds between which it lay."""
    hours = ", ".join(f"{_MARK} - INTERVAL {weeks} WEEK" for weeks in weeks_ago)
    return f"""
        SELECT
            {PAIR} AS pair, toStartOfHour(window_start) AS hour, sum(quantity) AS q,
            toFloat64(sum(events)) AS n, min(first_s) AS first_s, max(last_s) AS last_s
        FROM (SELECT * FROM {table} FINAL WHERE toStartOfHour(window_start) IN ({hours}))
        WHERE events > 0 AND pair IN (SELECT pair FROM strayed)
        GROUP BY pair, hour
    """


_DEVIATIONS = f"""
(
    WITH strayed AS
    (
        SELECT *, deviations > 0 AS rises
        FROM usage_deviations FINAL
        WHERE mark = {_MARK} AND abs(deviations) > {{least:Float64}}
    )
    SELECT
        mark, pair, scale, deviations, noise, day, weeks, q, n, usual, usual_day, usual_week, unit
    FROM usage_deviations FINAL
    WHERE mark = {_MARK}
    UNION ALL
    SELECT
        {{first:DateTime('UTC')}}, pair, scale,
        {scaled("(s.q + begun_q) / unit")} - {scaled("(s.usual + due) / unit")},
        noise, day, weeks, s.q + begun_q, s.n + begun_n, s.usual + due, usual_day, usual_week, unit
    FROM
    (
        SELECT
            s.*, b.q AS begun_q, b.n AS begun_n,
            m.q[{WEEK}] - m.q[{DAY}] AS base, h.spans AS spans,
            if(rises, p.high[1], p.low[1]) AS usual_hour,
            least(greatest(base * if(rises, p.high_share[1], p.low_share[1]),
                usual_hour / {TREND_MAX}), usual_hour * {TREND_MAX}) AS with_trend,
            greatest({_ELAPSED}, if(rises, least(b.last_s + 1, 3600), 0)) AS seen_s,
            {_SHARES} AS shares,
            if(rises,
                if(empty(spans), 1, greatest(seen_s / 3600, arrayMax(shares))),
                if(length(spans) < {_WEEKS_MIN}, 0, least(seen_s / 3600, arrayMin(shares))))
                AS share,
            share * if(rises, greatest(usual_hour, with_trend), least(usual_hour, with_trend))
                AS due,
            {scaled("begun_q / unit")} - {scaled("due / unit")} AS own
        FROM strayed AS s
        INNER JOIN
        (
            SELECT pair, high, low, high_share, low_share FROM usage_profiles FINAL
            WHERE mark = {{first:DateTime('UTC')}} - INTERVAL 1 WEEK
                AND pair IN (SELECT pair FROM strayed)
        ) AS p ON p.pair = s.pair
        INNER JOIN
        (
            SELECT pair, q FROM usage_marks FINAL
            WHERE mark = {_MARK} AND pair IN (SELECT pair FROM strayed)
        ) AS m ON m.pair = s.pair
        LEFT JOIN ({_hours("%s", weeks_ago=[0])}) AS b ON b.pair = s.pair
        LEFT JOIN
        (
            SELECT pair, groupArray((toInt32(first_s), toInt32(last_s))) AS spans
            FROM ({_hours("usage_hours", weeks_ago=range(1, _WEEKS + 1))})
            GROUP BY pair
        ) AS h ON h.pair = s.pair
        WHERE if(rises,
            own > {_OWN_DEVIATIONS} AND begun_q > {_OWN_ABOVE} * due,
            own < -{_OWN_DEVIATIONS} AND begun_q < {_OWN_BELOW} * due)
    ) AS s
)
"""


def begun_breaches(hours_table: str) -> str:
    """SQL of breaches, as of `alerts.breaches`, at `first` and `last`, both the end of one hour.

    `elapsed` seconds of it are complete. New is what breached at the whole hour before as well.
    """
    return breaches_of(f"{_DEVIATIONS} AS s").replace("%s", hours_table)


#: As production asks; a benchmark puts hours that are cut short in the place of the table.
BEGUN_BREACHES = begun_breaches("usage_hours")
