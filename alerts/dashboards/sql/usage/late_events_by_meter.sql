SELECT $__timeInterval(window_start) AS time, meter AS series,
    sum(late_events) AS value
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
GROUP BY time, series
HAVING value > 0
ORDER BY time, series
