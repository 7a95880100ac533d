SELECT sum(events) AS events, uniqExact(customer_id) AS customers
FROM ${database}.live_usage
WHERE $__timeFilter(window_start) AND {of_customer} AND {of_meter}
