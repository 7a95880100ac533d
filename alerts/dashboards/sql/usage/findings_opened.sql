SELECT $__timeInterval(recorded_at) AS time, kind AS series, count() AS value
FROM ${database}.alert_findings FINAL
WHERE state = 'opened' AND $__timeFilter(recorded_at)
    AND {of_customer} AND (meter = '' OR {of_meter})
GROUP BY time, series
ORDER BY time, series
