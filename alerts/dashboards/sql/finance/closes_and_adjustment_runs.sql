SELECT kind, period, argMax(state, recorded_at) AS state,
    argMax(customers, recorded_at) AS customers,
    argMax(actor, recorded_at) AS actor, max(recorded_at) AS issued,
    argMax(complete_to, recorded_at) AS `complete to`
FROM ${database}.billing_runs
GROUP BY kind, period, run_id
ORDER BY issued DESC
LIMIT 50
