"""SQL that judges windows: how far usage strays from what is usual for it.

A window of a pair (customer, meter) ends at a *mark*, a whole hour, and is 1 to 168 hours long
(its *scale*). It is compared with the pair's profile of the same hour a week ago, in deviations
(`alerts.deviations`):

1. The *usual* is the profile as it is, and as it would be with the growth since: the ratio of the
   last weeks' totals, without the last day. A window strays only from both.
2. The pair's *noise* says how far it strays in one hour of a hundred anyway: from day to day it
   rises with each hour that strays further, and falls slowly with each that does not. What is
   within it is dropped here; `alerts.breaches` decides by the rest.
"""

from alerts.deviations import scaled
from alerts.marks import SCALES
from alerts.profiles import DAY, IDLE_WEEKS_MAX, NOTHING, UNIT, WEEK, bases

#: Weeks in a profile from which on it says what straying is; telling anybody takes more.
_WEEKS_MIN = 4
#: Growth since a profile is believed up to this factor, either way.
TREND_MAX = 4
#: Deviations that are taken for noise of a pair that is not known yet, and the least of any.
_NOISE_FIRST = 2.5
_NOISE_MIN = 1
#: By how much noise rises with an hour that strays further, in logarithms: less for long windows,
#: which stray for many hours in a row. One that does not lets it fall by a hundredth of that.
_RISES = [round(0.05 * min(1, 8 / hours), 6) for hours in SCALES]
_FALLS = 0.01
_RISE_MAX = 0.7
_FIRST = f"arrayResize([toFloat32({_NOISE_FIRST})], {len(SCALES)}, {_NOISE_FIRST})"


def _deviations(*, of: str) -> str:
    return f"arrayMap(e -> toFloat32({scaled('e')}), {of})"


#: Whether there is anything to judge at marks `first` to `last`: months without it are skipped.
READY = f"""
SELECT count() > 0 FROM usage_profiles
WHERE weeks >= {_WEEKS_MIN} AND mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL 1 WEEK
    AND {{last:DateTime('UTC')}} - INTERVAL 1 WEEK
"""

#: Windows of marks `first` to `last`, of one day, that stray beyond the noise that was known
#: at the end of `yesterday`.
DEVIATIONS = f"""
INSERT INTO usage_deviations
    (mark, pair, scale, deviations, noise, day, weeks, q, n, usual, usual_day, usual_week, unit)
WITH joined AS
(
    SELECT
        p.mark + INTERVAL 1 WEEK AS at, p.pair AS pair, p.weeks AS weeks, p.is_level AS is_level,
        {UNIT.format("p.")} AS exact_unit,
        toFloat32(if(exact_unit > 0, exact_unit, 1)) AS unit,
        if(empty(m.q), {NOTHING}, m.q) AS q, if(empty(m.n), {NOTHING}, m.n) AS n,
        {bases(f"q[{WEEK}] - q[{DAY}]", of_weeks="p.base")} AS of_bases,
        if(is_level, p.high, arrayMap(
            (e, f, b) -> greatest(e, least(greatest(f * b, e / {TREND_MAX}), e * {TREND_MAX})),
            p.high, p.high_share, of_bases)) AS high,
        if(is_level, p.low, arrayMap(
            (e, f, b) -> least(e, least(greatest(f * b, e / {TREND_MAX}), e * {TREND_MAX})),
            p.low, p.low_share, of_bases)) AS low,
        {_deviations(of="arrayMap(v -> v / unit, q)")} AS now,
        arrayMap((v, e) -> v - e, now, {_deviations(of="arrayMap(v -> v / unit, high)")}) AS up,
        arrayMap((v, e) -> e - v, now, {_deviations(of="arrayMap(v -> v / unit, low)")}) AS down,
        if(empty(z.up), {_FIRST}, z.up) AS noise_up,
        if(empty(z.down), {_FIRST}, z.down) AS noise_down
    FROM
    (
        SELECT * FROM usage_profiles FINAL
        WHERE mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL 1 WEEK
            AND {{last:DateTime('UTC')}} - INTERVAL 1 WEEK
            AND idle < {IDLE_WEEKS_MAX} AND weeks >= {_WEEKS_MIN}
    ) AS p
    LEFT JOIN
    (
        SELECT mark - INTERVAL 1 WEEK AS before, pair, q, n FROM usage_marks FINAL
        WHERE mark BETWEEN {{first:DateTime('UTC')}} AND {{last:DateTime('UTC')}}
    ) AS m ON m.before = p.mark AND m.pair = p.pair
    LEFT JOIN
    (
        SELECT pair, up, down FROM usage_noise FINAL WHERE day = {{yesterday:Date}}
    ) AS z ON z.pair = p.pair
)
SELECT
    at, pair, scale, if(u > d, u, -d), if(u > d, b_u, b_d), up[{DAY}], weeks, q_s, n_s,
    if(u > d, high_s, low_s), if(u > d, high[{DAY}], low[{DAY}]),
    if(u > d, high[{WEEK}], low[{WEEK}]), unit
FROM joined
ARRAY JOIN
    {list(SCALES)} AS scale, up AS u, down AS d, noise_up AS b_u, noise_down AS b_d, q AS q_s,
    n AS n_s, high AS high_s, low AS low_s
WHERE (arrayExists((x, b) -> x > b, up, noise_up)
        OR arrayExists((x, b) -> x > b, down, noise_down))
    AND (u > b_u OR d > b_d)
"""

#: Before marks are judged again: what strayed then strays no more, unless it is judged so.
FORGET_DEVIATIONS = """
INSERT INTO usage_deviations
    (mark, pair, scale, deviations, noise, day, weeks, q, n, usual, usual_day, usual_week, unit)
SELECT mark, pair, scale, 0, noise, day, weeks, q, n, usual, usual_day, usual_week, unit
FROM usage_deviations FINAL
WHERE mark BETWEEN {first:DateTime('UTC')} AND {last:DateTime('UTC')}
"""

#: Noise of `day`, whose marks end at `last`, from that of `yesterday` and what strayed in between.
BUILD_NOISE = f"""
INSERT INTO usage_noise (day, pair, up, down)
WITH strayed AS
(
    SELECT
        pair, groupArrayIf(scale, deviations > 0) AS ups,
        groupArrayIf(scale, deviations < 0) AS downs
    FROM usage_deviations FINAL
    WHERE mark BETWEEN {{last:DateTime('UTC')}} - INTERVAL 23 HOUR AND {{last:DateTime('UTC')}}
    GROUP BY pair
)
SELECT
    {{day:Date}}, p.pair, %s, %s
FROM
(
    SELECT pair FROM usage_profiles FINAL
    WHERE mark = {{last:DateTime('UTC')}} - INTERVAL 1 WEEK
        AND idle < {IDLE_WEEKS_MAX} AND weeks >= {_WEEKS_MIN}
) AS p
LEFT JOIN
(
    SELECT pair, up, down FROM usage_noise FINAL WHERE day = {{yesterday:Date}}
) AS z ON z.pair = p.pair
LEFT JOIN strayed AS s ON s.pair = p.pair
""" % tuple(
    f"""arrayMap((b, scale, rise) -> toFloat32(greatest({_NOISE_MIN}, b * exp(least({_RISE_MAX},
        rise * (countEqual(s.{name}s, scale) * {1 + _FALLS} - 24 * {_FALLS}))))),
        if(empty(z.{name}), {_FIRST}, z.{name}), {list(SCALES)}, {_RISES})"""
    for name in ("up", "down")
)
