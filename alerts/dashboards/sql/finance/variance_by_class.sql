SELECT class, sum(amount) AS variance
FROM ${database}.reconciliation_variances
WHERE currency = '${currency}' AND run_id IN
(
    SELECT argMax(run_id, started_at) FROM ${database}.reconciliation_runs
    WHERE period = '${period}'
)
GROUP BY class
ORDER BY abs(variance) DESC, class
