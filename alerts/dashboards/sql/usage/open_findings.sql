SELECT count() AS open, uniqExact(customer_id) AS customers
FROM
(
    SELECT customer_id, argMax(state, recorded_at) AS newest
    FROM ${database}.alert_findings FINAL
    WHERE {of_customer} AND (meter = '' OR {of_meter})
    GROUP BY finding_id, customer_id
)
WHERE newest = 'opened'
