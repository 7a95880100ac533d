SELECT i.invoice_id AS invoice, i.customer_id AS customer, i.plan AS plan,
    i.period_start AS `period from`, i.total AS total, i.lines AS lines,
    i.issued_at AS issued, r.complete_to AS `complete to`
FROM (SELECT * FROM ${database}.invoices FINAL WHERE {in_period} AND currency = '${currency}' AND {of_customer}) AS i
LEFT JOIN
(
    SELECT run_id, argMax(complete_to, recorded_at) AS complete_to
    FROM ${database}.billing_runs
    GROUP BY run_id
) AS r ON r.run_id = i.run_id
ORDER BY total DESC, invoice
LIMIT 200
