SELECT sum(late_events) / greatest(sum(events), 1) AS late
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
