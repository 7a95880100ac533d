SELECT customer_id
FROM ${database}.usage_totals
GROUP BY customer_id
ORDER BY sum(events) DESC, customer_id
LIMIT 500
