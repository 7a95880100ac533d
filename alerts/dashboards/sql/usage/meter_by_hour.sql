SELECT window_start AS time, sum(quantity) AS `${meter}`
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer}
    AND meter = ${meter:sqlstring}
GROUP BY time
ORDER BY time
