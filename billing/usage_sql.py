"""The queries of `billing/usage.py`: quantities of billing periods, by span."""

#: The span of a moment, from 1; 0 or the number of borders where it lies outside. Filtering by
#: what this says, and by no condition on the time, keeps FINAL from reading some months only: an
#: identity that was written to two of them has to be folded first.
SPAN = """arrayCount(b -> b <= toUnixTimestamp64Micro({moment}),
        arrayElement(%(borders)s, transform(customer_id, %(customers)s, %(profiles)s, 1)))"""
INSIDE = """span > 0 AND span < length(
    arrayElement(%(borders)s, transform(customer_id, %(customers)s, %(profiles)s, 1)))
"""
#: From raw history, `source` says which of it and `more` what else is asked of it.
RAW = f"""
SELECT customer_id, toString(meter) AS meter, `group`, toUInt32(span) AS span,
       transform(meter, %(meters)s, %(aggregations)s, 'sum') AS aggregation,
       multiIf(
           aggregation = 'count', toDecimal256(count(), 12),
           aggregation = 'unique_count', toDecimal256(countIf(counted), 12),
           aggregation = 'max', toDecimal256(max(e.quantity), 12),
           aggregation = 'latest', toDecimal256(
               argMaxIf(e.quantity, (occurred_at, identity), meter IN %(latest)s), 12),
           sum(toDecimal256(e.quantity, 12))) AS quantity {{more}}
FROM
(
    SELECT customer_id, meter, `group`, r.quantity AS quantity, occurred_at, identity,
           {{counted}} AS counted, card, {SPAN.format(moment="occurred_at")} AS span
    FROM {{source}}
) AS e
WHERE {INSIDE}
GROUP BY customer_id, meter, `group`, span
"""
#: A table expression of a cut; `RawState.parameters` binds it.
CUT = """
SELECT tupleElement(c, 1) AS stream, toUInt32(tupleElement(c, 2)) AS partition,
       toUInt64(tupleElement(c, 3)) AS next_offset
FROM (SELECT arrayJoin(%(cut)s) AS c)
"""
NOW = "billable_events AS r WHERE customer_id IN %(customers)s"
#: The same below a cut: what is written, but not in the totals yet, is left out.
NOW_BELOW_CUT = f"""
billable_events AS r INNER JOIN ({CUT}) AS c USING (stream, partition)
WHERE customer_id IN %(customers)s AND offset < next_offset
"""
#: Not in force at `as_of`, though it is now, is only what was taken back later; and what was given
#: back later was not. `billable_events` says the same of now.
RETRACTED_AT = """
SELECT customer_id, meter, identity FROM retracted_events FINAL
WHERE customer_id IN %(customers)s
  AND is_retracted = (toUnixTimestamp64Micro(recorded_at) <= %(as_of)s)
"""
AT_CUT = f"""
(
    SELECT * FROM usage_events FINAL
    WHERE customer_id IN %(customers)s AND NOT disregarded
      AND (customer_id, meter, identity) NOT IN ({RETRACTED_AT})
) AS r INNER JOIN ({CUT}) AS c USING (stream, partition)
WHERE offset < next_offset
"""
#: Whether an event counts for its distinct value, as of a cut: it is the first with it in its part.
#: `counted` says so of now, and moves to another event when the one that counts is taken back.
FIRST_AT_CUT = f"""(customer_id, meter, identity) IN
(
    SELECT customer_id, meter, argMin(identity, (record_time, stream, partition, offset, `index`))
    FROM {AT_CUT.replace("AND NOT disregarded", "AND NOT disregarded AND meter IN %(distinct)s")}
    GROUP BY customer_id, meter, `group`, part_start,
             JSONExtractString(dimensions, transform(meter, %(distinct)s, %(dimensions)s, ''))
)"""
#: The sum of hashes has no order, and an identity is in it once: who swaps, changes or leaves out
#: an event changes it.
EVIDENCE = """,
       count() AS events,
       reinterpretAsFixedString(sumWithOverflow(reinterpretAsUInt128(sipHash128(
           identity, reinterpretAsInt128(e.quantity), toUnixTimestamp64Micro(occurred_at)))))
           AS identities,
       max(card) != 0 AS is_rated
"""
#: A window lies within one span, so any of its moments says which.
TOTALS = f"""
SELECT customer_id, toString(meter) AS meter, `group`, toUInt32(span) AS span,
       toString(any(stated)) AS aggregation,
       multiIf(
           aggregation = 'max', max(t.quantity),
           aggregation = 'latest', argMax(t.quantity, (last_occurred_at, last_identity)),
           sum(t.quantity)) AS quantity {{more}}
FROM
(
    SELECT customer_id, meter, `group`, r.quantity AS quantity, aggregation AS stated,
           last_occurred_at, last_identity,
           {SPAN.format(moment="first_occurred_at")} AS span {{inner}}
    FROM {{source}} AND events > 0
) AS t
WHERE {INSIDE}
GROUP BY customer_id, meter, `group`, span
"""
LIVE = "usage_totals AS r FINAL WHERE customer_id IN %(customers)s"
#: With what moved on beyond the cut, and cannot be compared with raw history up to there.
LIVE_AT_CUT = f"""
(SELECT * FROM usage_totals FINAL WHERE customer_id IN %(customers)s) AS r
LEFT JOIN ({CUT}) AS c USING (stream, partition)
WHERE 1
"""
INNER_MOVING = ", absorbed_offset >= next_offset AS is_moving"
MOVING = ", max(is_moving) AS is_moving"
