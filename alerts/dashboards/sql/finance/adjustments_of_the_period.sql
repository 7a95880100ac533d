SELECT i.adjustment_id AS adjustment, i.customer_id AS customer, i.kind AS kind,
    i.invoice_id AS invoice, i.total AS total, i.posted_to AS `posted to`,
    i.actor AS actor, i.reason AS reason, i.issued_at AS issued,
    r.complete_to AS `complete to`
FROM (SELECT * FROM ${database}.adjustments FINAL WHERE {in_period} AND currency = '${currency}' AND {of_customer}) AS i
LEFT JOIN
(
    SELECT run_id, argMax(complete_to, recorded_at) AS complete_to
    FROM ${database}.billing_runs
    GROUP BY run_id
) AS r ON r.run_id = i.run_id
ORDER BY abs(total) DESC, adjustment
LIMIT 200
