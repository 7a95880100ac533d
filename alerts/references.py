"""SQL that turns marks into what later weeks compare with: references that tolerate an hour."""

from alerts.marks import SCALES

_DAY, _WEEK = SCALES.index(24) + 1, SCALES.index(168) + 1
_NOTHING = f"arrayResize([toFloat32(0)], {len(SCALES)}, 0)"

#: References of marks `first` to `last`, both inclusive; the mark after each has to be built.
BUILD_REFERENCES = f"""
INSERT INTO usage_references
    (mark, pair, is_level, low, high, low_n, base, whole_q, whole_n)
SELECT
    m.mark + INTERVAL ahead HOUR AS at, pair, any(m.is_level),
    if(count() < 3, {_NOTHING}, minForEach(q)), maxForEach(q),
    if(count() < 3, {_NOTHING}, minForEach(n)),
    sumIf(q[{_WEEK}] - if(m.is_level, 0, q[{_DAY}]), ahead = 0),
    sumIf(q[{_WEEK}], ahead = 0), sumIf(n[{_WEEK}], ahead = 0)
FROM usage_marks AS m FINAL
ARRAY JOIN arrayFilter(
    h -> m.mark + INTERVAL h HOUR BETWEEN {{first:DateTime('UTC')}} AND {{last:DateTime('UTC')}},
    [-1, 0, 1]) AS ahead
WHERE m.mark BETWEEN {{first:DateTime('UTC')}} - INTERVAL 1 HOUR
    AND {{last:DateTime('UTC')}} + INTERVAL 1 HOUR
GROUP BY at, pair
"""
