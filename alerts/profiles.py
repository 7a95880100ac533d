"""SQL that keeps what is usual for each pair: a running profile by hour of the week.

A profile of a mark is that of a week before, moved towards what came: by a quarter (by more while
it is young), and never by more than `_MOVE_MAX` deviations at once, so that an incident leaves it
nearly as it was. It holds the greatest and the least of three marks in a row, since usage that
comes an hour early or late is no news; both as they are, and as a share of the week before, which
follows a customer who grows.

Profiles are built a day after their mark, when what is late is there, and a week before they are
needed. What comes later than that is not in them.
"""

from alerts.deviations import events_at, scaled
from alerts.marks import LATE_PAIRS, SCALES

#: Share of the newest week, once a profile is old enough for it.
_NEWEST = 0.25
_MOVE_MAX = 3
#: Weeks until moves are bounded: the first values of a pair are whatever they are.
_YOUNG_WEEKS = 2
#: After so many weeks without usage a pair is forgotten.
IDLE_WEEKS_MAX = 9
#: A window is believed to hold at most so many times the week before it.
_SHARE_MAX = 5
DAY, WEEK = SCALES.index(24) + 1, SCALES.index(168) + 1
NOTHING = f"arrayResize([toFloat32(0)], {len(SCALES)}, 0)"
#: What windows are a share of: those up to a day of the week that just ended, others of the one
#: before, since they are a part of the former.
BASES = f"arrayConcat(arrayResize([%s], {DAY}, %s), arrayResize([%s], {len(SCALES) - DAY}, %s))"
#: A level has no events: a thousandth of it is what counts as one.
UNIT = "if({0}is_level, {0}unit_q / 1000, {0}unit_q / greatest({0}unit_n, 1))"


def bases(of_days: str, *, of_weeks: str) -> str:
    """SQL of the array of what windows are a share of."""
    return BASES % (of_days, of_days, of_weeks, of_weeks)


def _moved(usual: str, *, now: str) -> str:
    """SQL of `now` as far as a profile believes it that holds `usual`, both quantities."""
    at = scaled(f"{usual} / unit")
    return (
        f"if(was_young, {now}, least(greatest({now},"
        f" unit * {events_at(f'{at} - {_MOVE_MAX}')}), unit * {events_at(f'{at} + {_MOVE_MAX}')}))"
    )


def _folded(now: str, *, before: str) -> str:
    moved = _moved("e", now="v")
    return f"arrayMap((v, e) -> toFloat32(e + newest * ({moved} - e)), {now}, {before})"


def _folded_share(now: str, *, before: str) -> str:
    moved = _moved("f * b", now="v")
    return (
        f"arrayMap((v, f, b) -> toFloat32(if(b > 0, f + newest * (least({moved} / b,"
        f" {_SHARE_MAX}) - f), f)), {now}, {before}, of_bases)"
    )


#: The profiles of the pairs that `%s` leaves.
_BUILD = f"""
INSERT INTO usage_profiles
    (mark, pair, is_level, weeks, idle, base, unit_q, unit_n, high, low, high_share, low_share)
WITH near AS
(
    SELECT
        m.mark + INTERVAL ahead HOUR AS at, pair, any(m.is_level) AS is_level,
        maxForEach(q) AS most, if(count() < 3, {NOTHING}, minForEach(q)) AS least_q,
        sumIf(q[{WEEK}] - if(m.is_level, 0, q[{DAY}]), ahead = 0) AS base,
        sumIf(q[{WEEK}], ahead = 0) AS whole_q, sumIf(n[{WEEK}], ahead = 0) AS whole_n
    FROM usage_marks AS m FINAL
    ARRAY JOIN arrayFilter(
        h -> m.mark + INTERVAL h HOUR
            BETWEEN {{first:DateTime('UTC')}} AND {{last:DateTime('UTC')}},
        [-1, 0, 1]) AS ahead
    WHERE m.mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL 1 HOUR
        AND {{last:DateTime('UTC')}} + INTERVAL 1 HOUR %s
    GROUP BY at, pair
),
past AS
(
    SELECT
        mark + INTERVAL 1 WEEK AS at, pair, is_level, weeks, idle, base, unit_q, unit_n, high, low,
        high_share, low_share
    FROM usage_profiles FINAL
    WHERE mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL 1 WEEK
        AND {{last:DateTime('UTC')}} - INTERVAL 1 WEEK AND idle < {IDLE_WEEKS_MAX} %s
),
both AS
(
    SELECT
        if(empty(near.most), past.at, near.at) AS mark,
        if(empty(near.most), past.pair, near.pair) AS pair,
        if(empty(near.most), past.is_level, near.is_level) AS is_level,
        empty(past.high) AS is_new,
        toUInt8(if(is_new, 0, least(past.weeks + 1, 200))) AS weeks,
        past.weeks < {_YOUNG_WEEKS} AS was_young,
        toUInt8(if(near.whole_n > 0, 0, past.idle + 1)) AS idle,
        near.base AS base, near.whole_q AS whole_q, near.whole_n AS whole_n,
        past.unit_q AS unit_q, past.unit_n AS unit_n,
        {UNIT.format("")} AS exact_unit, if(exact_unit > 0, exact_unit, 1) AS unit,
        if(is_new, 1, greatest(1 / weeks, {_NEWEST})) AS newest,
        if(empty(near.most), {NOTHING}, near.most) AS most,
        if(empty(near.most), {NOTHING}, near.least_q) AS least_q,
        if(is_new, {NOTHING}, past.high) AS high, if(is_new, {NOTHING}, past.low) AS low,
        if(is_new, {NOTHING}, past.high_share) AS high_share,
        if(is_new, {NOTHING}, past.low_share) AS low_share,
        {bases("near.base", of_weeks="past.base")} AS of_bases
    FROM near FULL JOIN past ON near.at = past.at AND near.pair = past.pair
)
SELECT
    mark, pair, is_level, weeks, idle, base,
    unit_q + newest * (whole_q - unit_q), unit_n + newest * (whole_n - unit_n),
    {_folded("most", before="high")}, {_folded("least_q", before="low")},
    {_folded_share("most", before="high_share")}, {_folded_share("least_q", before="low_share")}
FROM both
"""
#: Profiles of marks `first` to `last`, both inclusive, at most a week; those of the week before and
#: the mark after each have to be there.
BUILD_PROFILES = _BUILD.replace("%s", "")
#: The same, only of pairs with late usage.
BUILD_LATE_PROFILES = _BUILD.replace("%s", f"AND pair IN ({LATE_PAIRS})")
