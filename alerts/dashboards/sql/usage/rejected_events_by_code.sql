SELECT $__timeInterval(record_time) AS time, code AS series,
    count() AS value
FROM ${database}.rejected_events FINAL
WHERE $__timeFilter(record_time)
GROUP BY time, series
ORDER BY time, series
