SELECT formatDateTime(month, '%Y-%m') AS month, customer_id AS customer,
    meter, `group`, quantity, events, last_occurred_at AS `last event`,
    complete_to AS `complete to`
FROM ${database}.unpriced_usage
WHERE {of_customer} AND {of_meter}
ORDER BY month DESC, events DESC, customer, meter, `group`
LIMIT 200
