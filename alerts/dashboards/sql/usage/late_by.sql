SELECT $__timeInterval(record_time) AS time,
    quantilesTDigest(0.5, 0.95, 0.99)(delay) AS found,
    found[1] AS p50, found[2] AS p95, found[3] AS p99
FROM
(
    SELECT record_time,
        greatest(dateDiff('millisecond', occurred_at, record_time), 0) / 1000 AS delay
    FROM ${database}.usage_events
    WHERE $__timeFilter(record_time) AND {of_customer} AND {of_meter}
        AND stream IN (SELECT stream FROM ${database}.streams WHERE kind = 'live')
)
GROUP BY time
ORDER BY time
