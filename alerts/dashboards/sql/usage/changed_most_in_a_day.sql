WITH (SELECT toStartOfHour(toDateTime(complete_to)) FROM ${database}.complete_to) AS upto
SELECT customer_id AS customer, meter,
    sumIf(events, window_start >= upto - INTERVAL 24 HOUR) AS `last day`,
    sumIf(events, window_start < upto - INTERVAL 7 DAY) AS `a week before`,
    (`last day` - `a week before`) / nullIf(`a week before`, 0) AS change,
    upto AS `complete to`
FROM ${database}.live_usage
WHERE (window_start >= upto - INTERVAL 24 HOUR AND window_start < upto
        OR window_start >= upto - INTERVAL 192 HOUR
        AND window_start < upto - INTERVAL 168 HOUR)
    AND {of_customer} AND {of_meter}
GROUP BY customer_id, meter, upto
ORDER BY abs(`last day` - `a week before`)
    / sqrt(`last day` + `a week before`) DESC, customer, meter
LIMIT 50
