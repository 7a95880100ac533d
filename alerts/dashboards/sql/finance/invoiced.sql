SELECT sum(i.total) AS invoiced, count() AS invoices,
    toUnixTimestamp64Milli(min(r.complete_to)) AS `complete to`
FROM (SELECT * FROM ${database}.invoices FINAL WHERE {in_period} AND currency = '${currency}' AND {of_customer}) AS i
LEFT JOIN
(
    SELECT run_id, argMax(complete_to, recorded_at) AS complete_to
    FROM ${database}.billing_runs
    GROUP BY run_id
) AS r ON r.run_id = i.run_id
