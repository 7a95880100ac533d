"""SQL that keeps what detection compares: usage by hour, and trailing sums at each whole hour.

Every statement writes absolute values worked out from what is stored, so doing it again, from
anywhere, leaves the same. Statements take their times as parameters: `first` and `last` are marks
(whole hours, both inclusive), and at most `MARKS_MAX` of them go into one statement, since marks
of one day are worked out from those of the days before.
"""

#: Marks that one statement may build.
MARKS_MAX = 24
#: Which number a pair has. A collision would mix two pairs: one in 18 million with a million pairs.
PAIR = "cityHash64(customer_id, toString(meter))"

#: Rows of `usage_totals` that were written from `since` on, as they are, each with its version.
COPY_HOURS = """
INSERT INTO usage_hours
SELECT
    window_start, customer_id, meter, `group`, stream, partition,
    any(t.aggregation IN ('max', 'latest')),
    greatest(toFloat64(argMax(t.quantity, t.absorbed_offset)), 0),
    argMax(t.events, t.absorbed_offset),
    toUInt16(argMax(t.first_occurred_at, t.absorbed_offset) - toStartOfHour(window_start)),
    toUInt16(argMax(t.last_occurred_at, t.absorbed_offset) - toStartOfHour(window_start)),
    max(t.absorbed_offset)
FROM usage_totals AS t
WHERE t.updated_at >= {since:DateTime('UTC')} AND window_start >= {oldest:DateTime('UTC')}
GROUP BY customer_id, meter, `group`, window_start, stream, partition
"""

#: Names and first hours of the same rows.
NAME_PAIRS = f"""
INSERT INTO usage_pairs
SELECT {PAIR} AS pair, any(customer_id), any(meter), min(window_start), max(window_start)
FROM usage_totals
WHERE updated_at >= {{since:DateTime('UTC')}} AND window_start >= {{oldest:DateTime('UTC')}}
    AND events > 0
GROUP BY pair
"""

#: Hours of the windows that are judged, the shortest first; the last two are whole days.
SCALES = (1, 3, 8, 24, 72, 168)
_DAILY = SCALES.index(24)
_DAY = ", ".join(
    f"if(any(level), maxIf(q, age < {hours}), sumIf(q, age < {hours}))" for hours in SCALES[:4]
)
_DAY_EVENTS = ", ".join(f"sumIf(n, age < {hours})" for hours in SCALES[:4])
_MORE = ", ".join(
    f"if(any(level), maxIf(day_q, ago < {hours}), sumIf(day_q, ago < {hours}))"
    for hours in SCALES[4:]
)
_MORE_EVENTS = ", ".join(f"sumIf(day_n, ago < {hours})" for hours in SCALES[4:])

#: The trailing sums of marks `first` to `last`, of the pairs that `%s` leaves.
_BUILD = f"""
INSERT INTO usage_marks (mark, pair, is_level, q, n)
WITH day AS
(
    SELECT
        toDateTime(mark_s, 'UTC') AS mark, pair, any(level) AS is_level,
        [{_DAY}] AS q4, [{_DAY_EVENTS}] AS n4
    FROM
    (
        SELECT
            pair, level, q, n, ended,
            arrayJoin(range(
                greatest(ended, toUnixTimestamp({{first:DateTime('UTC')}})),
                least(ended + 82800, toUnixTimestamp({{last:DateTime('UTC')}})) + 1,
                3600)) AS mark_s,
            intDiv(mark_s - ended, 3600) AS age
        FROM
        (
            SELECT
                toUnixTimestamp(toStartOfHour(window_start)) + 3600 AS ended, {PAIR} AS pair,
                any(is_level) AS level, sum(quantity) AS q, toFloat64(sum(events)) AS n
            FROM
            (
                SELECT
                    window_start, customer_id, meter, any(u.is_level) AS is_level,
                    if(is_level, max(u.quantity), sum(u.quantity)) AS quantity,
                    sum(u.events) AS events
                FROM usage_hours AS u FINAL
                WHERE window_start >= {{first:DateTime('UTC')}} - INTERVAL 24 HOUR
                    AND window_start < {{last:DateTime('UTC')}} %s
                GROUP BY window_start, customer_id, meter, `group`
            )
            GROUP BY ended, pair
        )
    )
    GROUP BY mark_s, pair
)
SELECT
    mark, pair, any(level),
    arrayConcat(if(empty(anyIf(q4, ago = 0)), [0, 0, 0, 0], anyIf(q4, ago = 0)), [{_MORE}]),
    arrayConcat(if(empty(anyIf(n4, ago = 0)), [0, 0, 0, 0], anyIf(n4, ago = 0)), [{_MORE_EVENTS}])
FROM
(
    SELECT mark, pair, is_level AS level, 0 AS ago, q4, n4, q4[4] AS day_q, n4[4] AS day_n
    FROM day
    UNION ALL
    SELECT
        mark + INTERVAL ahead DAY, pair, is_level, ahead * 24, [], [], toFloat64(q[4]),
        toFloat64(n[4])
    FROM usage_marks FINAL
    ARRAY JOIN arrayFilter(
        d -> mark + INTERVAL d DAY BETWEEN {{first:DateTime('UTC')}} AND {{last:DateTime('UTC')}},
        range(1, 7)) AS ahead
    WHERE mark >= {{first:DateTime('UTC')}} - INTERVAL 144 HOUR
        AND mark <= {{last:DateTime('UTC')}} - INTERVAL 24 HOUR AND n[4] > 0 %s
)
GROUP BY mark, pair
"""
BUILD_MARKS = _BUILD.replace("%s", "")
#: Pairs whose usage of hours before `marked` was written from `since` on.
LATE_PAIRS = f"""
    SELECT {PAIR} FROM usage_totals
    WHERE updated_at >= {{since:DateTime('UTC')}} AND window_start < {{marked:DateTime('UTC')}}
        AND window_start >= {{oldest:DateTime('UTC')}}
"""
#: The same marks, only of these pairs.
BUILD_LATE_MARKS = _BUILD.replace("%s", f"AND {PAIR} IN ({LATE_PAIRS})", 1).replace(
    "%s", f"AND pair IN ({LATE_PAIRS})"
)

#: Sums of one mark from those of earlier ones: windows that follow each other without a gap, by how
#: many hours ago they end. So an hour takes one row of usage and these of each pair, not a day.
_PIECES = {1: 1, 2: 1, 3: 3, 6: 1, 7: 1, 8: 8, 16: 8, **dict.fromkeys(range(24, 168, 24), 24)}
_AGES = list(_PIECES)
_PLACES = [SCALES.index(hours) + 1 for hours in _PIECES.values()]
_SUMS = ", ".join(
    f"if(any(level), maxIf(v, age < {hours}), sumIf(v, age < {hours}))" for hours in SCALES
)
_EVENT_SUMS = ", ".join(f"sumIf(e, age < {hours})" for hours in SCALES)
#: The mark `first`, where all before it are built; leaves what `BUILD_MARKS` leaves.
BUILD_NEXT_MARK = f"""
INSERT INTO usage_marks (mark, pair, is_level, q, n)
SELECT {{first:DateTime('UTC')}}, pair, any(level), [{_SUMS}], [{_EVENT_SUMS}]
FROM
(
    SELECT pair, any(level) AS level, 0 AS age, sum(quantity) AS v, toFloat64(sum(events)) AS e
    FROM
    (
        SELECT
            {PAIR} AS pair, any(u.is_level) AS level,
            if(level, max(u.quantity), sum(u.quantity)) AS quantity, sum(u.events) AS events
        FROM usage_hours AS u FINAL
        WHERE window_start >= {{first:DateTime('UTC')}} - INTERVAL 1 HOUR
            AND window_start < {{first:DateTime('UTC')}}
        GROUP BY pair, `group`, toStartOfHour(window_start)
    )
    GROUP BY pair
    UNION ALL
    SELECT pair, is_level, age, toFloat64(q[place]), toFloat64(n[place])
    FROM
    (
        SELECT
            pair, is_level, q, n,
            dateDiff('hour', mark, {{first:DateTime('UTC')}}) AS age,
            transform(age, {_AGES}, {_PLACES}, 0) AS place
        FROM usage_marks FINAL
        WHERE mark IN (
            SELECT {{first:DateTime('UTC')}} - toIntervalHour(arrayJoin({_AGES})))
    )
)
GROUP BY pair
HAVING sum(e) > 0
"""
