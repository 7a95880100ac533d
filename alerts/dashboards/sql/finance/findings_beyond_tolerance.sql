SELECT check_name AS check, class, severity, customer_id AS customer, meter,
    expected_amount AS expected, got_amount AS got, amount, reason, started_at AS `complete to`
FROM ${database}.reconciliation_variances
WHERE NOT tolerated AND currency = '${currency}' AND {of_customer} AND (meter = '' OR {of_meter})
    AND run_id IN
    (
        SELECT argMax(run_id, started_at) FROM ${database}.reconciliation_runs
        WHERE period = '${period}'
    )
ORDER BY abs(amount) DESC, customer, meter, number
LIMIT 200
