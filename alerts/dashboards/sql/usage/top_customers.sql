SELECT customer_id AS customer, meter, sum(quantity) AS quantity,
    sum(events) AS events, sum(late_events) AS late,
    max(last_occurred_at) AS `last event`, any(complete_to) AS `complete to`
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
GROUP BY customer_id, meter
ORDER BY events DESC, customer, meter
LIMIT 50
