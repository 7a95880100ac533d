SELECT any(r.period) AS period, any(r.finished_at) AS finished, any(r.actor) AS actor,
    any(r.checks) AS checks, any(r.findings) AS findings, any(r.tolerated) AS tolerated,
    any(r.exit_code) AS `exit code`, max(b.complete_to) AS `complete to`
FROM ${database}.reconciliation_runs AS r
LEFT ARRAY JOIN r.cut_runs AS cut
LEFT JOIN (SELECT run_id, complete_to FROM ${database}.billing_runs) AS b ON b.run_id = cut
GROUP BY r.run_id
ORDER BY finished DESC
LIMIT 50
