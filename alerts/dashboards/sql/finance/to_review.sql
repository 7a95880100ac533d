SELECT customer_id AS customer, meter, status, severity, invoice_impact AS impact,
    invoice_hold AS held, reason, reviewer, recorded_at AS `complete to`
FROM ${database}.review_worklist
WHERE period = '${period}' AND currency = '${currency}'
    AND {of_customer} AND (meter = '' OR {of_meter})
ORDER BY abs(impact) DESC, customer, meter
LIMIT 200
