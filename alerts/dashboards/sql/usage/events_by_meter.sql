SELECT $__timeInterval(window_start) AS time, meter AS series,
    sum(events) AS value
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
GROUP BY time, series
ORDER BY time, series
