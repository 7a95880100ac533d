-- To which moment the live totals are complete: the least watermark over the partitions of the
-- live stream. Neither a backfill nor a topic that was replaced by another holds it back.
CREATE VIEW IF NOT EXISTS {database}.complete_to AS
SELECT min(watermark) AS complete_to
FROM
(
    SELECT stream, partition, max(w.watermark) AS watermark
    FROM {database}.watermarks AS w
    WHERE stream IN
    (
        SELECT argMax(stream, created_at) FROM {database}.streams WHERE kind = 'live' GROUP BY topic
    )
    GROUP BY stream, partition
);

-- Exact usage per customer, meter, group and hour, as of now: before any background merge, over
-- all source partitions, with the moment that it is complete to. A row without an event is what a
-- repair leaves of a total that should not be.
CREATE VIEW IF NOT EXISTS {database}.live_usage AS
SELECT
    customer_id,
    meter,
    `group`,
    window_start,
    multiIf(
        any(aggregation) = 'max', max(t.quantity),
        any(aggregation) = 'latest', argMax(t.quantity, (t.last_occurred_at, t.last_identity)),
        sum(t.quantity)) AS quantity,
    sum(t.events) AS events,
    sum(t.late_events) AS late_events,
    min(t.first_occurred_at) AS first_occurred_at,
    max(t.last_occurred_at) AS last_occurred_at,
    (SELECT complete_to FROM {database}.complete_to) AS complete_to
FROM {database}.usage_totals AS t FINAL
WHERE t.events > 0
GROUP BY customer_id, meter, `group`, window_start;

-- Per day of occurrence: what was counted, what came late, and whether the day is complete.
-- duplicates and rejected are by day of arrival, since a rejected event may carry no other time.
CREATE VIEW IF NOT EXISTS {database}.daily_completeness AS
SELECT
    day,
    sum(u.accepted) AS accepted,
    sum(u.late) AS late,
    sum(u.duplicates) AS duplicates,
    sum(u.rejected) AS rejected,
    (SELECT complete_to FROM {database}.complete_to) AS complete_to,
    complete_to >= toDateTime64(day + 1, 3, 'UTC') AS is_complete
FROM
(
    SELECT toDate(window_start, 'UTC') AS day, sum(events) AS accepted, sum(late_events) AS late,
        0 AS duplicates, 0 AS rejected
    FROM {database}.usage_totals FINAL GROUP BY day
    UNION ALL
    SELECT toDate(record_time, 'UTC'), 0, 0, count(), 0
    FROM {database}.duplicate_events FINAL
    WHERE (stream, partition, offset, `index`) NOT IN
    (
        SELECT stream, partition, offset, `index` FROM {database}.usage_events FINAL
        WHERE (customer_id, meter, identity) IN
            (SELECT customer_id, meter, identity FROM {database}.duplicate_events)
    )
    GROUP BY 1
    UNION ALL
    SELECT toDate(record_time, 'UTC'), 0, 0, 0, count()
    FROM {database}.rejected_events FINAL GROUP BY 1
) AS u
GROUP BY day;
