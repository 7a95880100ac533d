"""SQL that judges windows: how far usage strays from what is usual for it, and which breach.

A window of a pair (customer, meter) ends at a *mark*, a whole hour, and is 1 to 168 hours long
(its *scale*). It is compared with the same window of up to eight earlier weeks:

1. The *usual* is the median of these references, both as they were and as they would be with the
   growth since (of whole weeks, without the last day). A window strays only from both: neither a
   customer who grows nor a reference with an outlier of its own makes an anomaly.
2. How far it strays is counted in deviations: of the references' logarithms from their median,
   pulled towards what counts of that size show anyway, since eight values say little of a spread.
3. What is normal is a pair's own: a breach strays further than the pair did in any but its two
   wildest weeks of the last eight. Usage that always jumps has to jump higher.
4. Chance does not explain a breach: the events that are there, or missing, are too many for it.
5. Where references are mostly empty, there is nothing to divide by: usage is a spike where a
   window holds more than some whole weeks do.

`HISTORY_WEEKS_MIN` weeks of references and as many of straying have to be known: a pair that is
younger is not judged.
"""

from alerts.marks import SCALES

REFERENCES_MAX = 8
HISTORY_WEEKS_MIN = 4
#: Growth since a reference is believed up to this factor, either way.
_TREND_MAX = 4
#: How far a window has to be beyond all references but one; and what chance may not explain.
_BEYOND = "1.1"
_EVIDENCE_MIN = 4
_NOTHING = f"arrayResize([toFloat32(0)], {len(SCALES)}, 0)"
_PLACES = list(range(1, len(SCALES) + 1))
_DAY, _WEEK = SCALES.index(24) + 1, SCALES.index(168) + 1

#: Windows of marks `first` to `last` that stray at all, into `usage_strays`. Most windows are
#: dropped by counting how many references they are beyond, before anything is worked out of them.
STRAYS = f"""
INSERT INTO usage_strays
    (mark, pair, scale, strays, is_usual, weeks, q, n, high, low, unit, evidence, usual_week)
WITH now AS
(
    SELECT mark, pair, q, n FROM usage_marks FINAL
    WHERE mark BETWEEN {{first:DateTime('UTC')}} AND {{last:DateTime('UTC')}}
),
compared AS
(
    SELECT
        r.at AS at, r.pair AS pair, any(r.is_level) AS is_level,
        any(if(empty(now.q), {_NOTHING}, now.q)) AS q_now,
        any(if(empty(now.n), {_NOTHING}, now.n)) AS n_now,
        any(if(empty(now.q), 0, now.q[{_WEEK}] - if(r.is_level, 0, now.q[{_DAY}]))) AS base_now,
        groupArray((toUInt8(r.ago), r.low, r.high, r.low_n, r.base, r.whole_q, r.whole_n)) AS found,
        {REFERENCES_MAX} - count() AS lacking,
        sumForEach(arrayMap((h, x) -> toUInt8(x > {_BEYOND} * h), r.high,
            if(empty(now.q), {_NOTHING}, now.q))) AS above,
        sumForEach(arrayMap((l, x) -> toUInt8({_BEYOND} * x < l), r.low,
            if(empty(now.q), {_NOTHING}, now.q))) AS below
    FROM
    (
        SELECT *, ago, mark + INTERVAL ago WEEK AS at
        FROM usage_references FINAL
        ARRAY JOIN arrayFilter(
            k -> mark + INTERVAL k WEEK
                BETWEEN {{first:DateTime('UTC')}} AND {{last:DateTime('UTC')}},
            range(1, {REFERENCES_MAX + 1})) AS ago
        WHERE mark >= {{first:DateTime('UTC')}} - INTERVAL {REFERENCES_MAX} WEEK
            AND mark <= {{last:DateTime('UTC')}} - INTERVAL 1 WEEK
    ) AS r
    LEFT JOIN now ON now.pair = r.pair AND now.mark = r.at
    GROUP BY at, pair
    HAVING arrayExists(x -> x + lacking >= {REFERENCES_MAX - 1}, above)
        OR arrayExists(x -> x >= {HISTORY_WEEKS_MIN - 1}, below)
),
windows AS
(
    SELECT
        at, c.pair AS pair, is_level, toUInt16(scale) AS scale,
        least({REFERENCES_MAX}, intDiv(
            toInt64(toUnixTimestamp(at)) - toUnixTimestamp(p.first_hour) - scale * 3600,
            604800)) AS weeks,
        toFloat64(q_now[s]) AS q, toFloat64(n_now[s]) AS n,
        arrayMap(k -> indexOf(found.1, k), range(1, weeks + 1)) AS places,
        arrayMap(i -> toFloat64(found.2[i][s]), places) AS lows,
        arrayMap(i -> toFloat64(found.3[i][s]), places) AS highs,
        arrayMap(i -> toFloat64(found.4[i][s]), places) AS lows_n,
        arrayMap(i -> toFloat64(found.5[i]), places) AS bases,
        if(scale > 24, bases[1], toFloat64(base_now)) AS base,
        arrayMap(
            b -> if(b > 0 AND base > 0 AND NOT is_level,
                least(greatest(base / b, 1 / {_TREND_MAX}), {_TREND_MAX}), 1), bases) AS growth,
        arrayMap((x, g) -> x * g, lows, growth) AS grown_lows,
        arrayMap((x, g) -> x * g, highs, growth) AS grown_highs,
        greatest(arrayReduce('median', highs), arrayReduce('median', grown_highs)) AS high,
        least(arrayReduce('median', lows), arrayReduce('median', grown_lows)) AS low,
        greatest(arraySort(highs)[-2], arraySort(grown_highs)[-2]) AS high_but_one,
        least(arraySort(lows)[2], arraySort(grown_lows)[2]) AS low_but_one,
        arrayMap((x, g) -> x * g, lows_n, growth) AS grown_n,
        least(arraySort(lows_n)[2], arraySort(grown_n)[2]) AS low_events,
        arraySum(arrayMap(i -> toFloat64(found.6[i]), places)) AS whole_q,
        arraySum(arrayMap(i -> toFloat64(found.7[i]), places)) AS whole_n,
        arrayReduce('median', arrayMap(i -> toFloat64(found.6[i]), places)) AS usual_week
    FROM compared AS c
    INNER JOIN
    (
        SELECT pair, min(first_hour) AS first_hour FROM usage_pairs GROUP BY pair
    ) AS p ON p.pair = c.pair
    ARRAY JOIN {list(SCALES)} AS scale, {_PLACES} AS s, above AS over, below AS under
    WHERE (over + lacking >= {REFERENCES_MAX - 1} OR under >= {HISTORY_WEEKS_MIN - 1})
        AND weeks >= {HISTORY_WEEKS_MIN}
        AND (q > {_BEYOND} * high_but_one OR {_BEYOND} * q < low_but_one)
),
measured AS
(
    SELECT
        *,
        q > high_but_one AS is_up,
        if(is_up, arrayFilter(x -> x > 0, grown_highs), arrayFilter(x -> x > 0, grown_lows))
            AS there,
        length(there) >= 0.7 * weeks AS is_usual,
        if(is_level, 0, whole_q / greatest(whole_n, 1)) AS unit,
        arrayReduce('median', grown_n) AS usual_n,
        arrayReduce('median', arrayMap(x -> log(x), there)) AS center,
        1.4826 * arrayReduce('median', arrayMap(x -> abs(log(x) - center), there)) AS deviation,
        sqrt(
            (length(there) * deviation * deviation + 6 * (0.015 + 2 / greatest(usual_n, 0.1)))
            / (length(there) + 6)) AS spread,
        least(greatest(spread * spread * usual_n, 2), 10) AS clump,
        if(unit > 0, q / unit, n) AS counted,
        if(unit > 0, greatest(high / unit, 0.5), usual_n) AS expected_high,
        if(unit > 0, least(low_events, low_but_one / unit), low_events) AS expected_low,
        multiIf(NOT is_usual, 99, is_up, log(q / high), log((q + unit) / low)) / spread AS strays,
        if(is_up,
            if(counted > expected_high,
                counted * log(counted / expected_high) - counted + expected_high, 0),
            if(counted < expected_low,
                expected_low - counted
                    + if(counted > 0, counted * log(counted / expected_low), 0), 0)) / clump
            AS evidence
    FROM windows
)
SELECT
    at, pair, scale, strays, is_usual, weeks, q, n, high, low, unit, evidence, usual_week
FROM measured
WHERE if(is_usual, abs(strays) >= 1 AND (is_level OR evidence >= {_EVIDENCE_MIN}),
    is_up AND q > usual_week)
"""

#: The same marks into what is normal for a week.
STRAY_WEEKS = """
INSERT INTO usage_stray_weeks
SELECT
    toMonday(mark), pair, scale, greatest(max(strays), 0), greatest(-min(strays), 0)
FROM usage_strays FINAL
WHERE is_usual AND mark BETWEEN {first:DateTime('UTC')} AND {last:DateTime('UTC')}
GROUP BY toMonday(mark), pair, scale
"""
