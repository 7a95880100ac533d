WITH largest AS
(
    SELECT customer_id
    FROM ${database}.live_usage
    WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
    GROUP BY customer_id
    ORDER BY sum(events) DESC, customer_id
    LIMIT 10
)
SELECT $__timeInterval(window_start) AS time,
    if(customer_id IN (SELECT customer_id FROM largest),
        customer_id, 'all others') AS series,
    sum(events) AS value
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
GROUP BY time, series
ORDER BY time, series
