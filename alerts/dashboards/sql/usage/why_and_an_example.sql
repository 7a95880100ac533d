SELECT code, count() AS events, uniqExactIf(customer_id, customer_id != '') AS customers,
    max(record_time) AS newest, argMax(sentence, record_time) AS example
FROM ${database}.rejected_events FINAL
WHERE $__timeFilter(record_time)
GROUP BY code
ORDER BY events DESC, code
