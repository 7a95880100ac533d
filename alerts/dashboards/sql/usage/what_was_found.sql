SELECT kind, customer_id AS customer, meter, threshold, argMax(state, recorded_at) AS state,
    argMax(observed, recorded_at) AS observed, argMax(expected, recorded_at) AS expected,
    argMax(sentence, recorded_at) AS sentence, window_start AS window,
    max(recorded_at) AS recorded, argMax(complete_to, recorded_at) AS `complete to`
FROM ${database}.alert_findings FINAL
WHERE $__timeFilter(recorded_at) AND {of_customer} AND (meter = '' OR {of_meter})
GROUP BY kind, customer_id, meter, `group`, threshold, window_start
ORDER BY recorded DESC, customer
LIMIT 200
