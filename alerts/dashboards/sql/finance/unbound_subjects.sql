SELECT sentence AS reason, count() AS events, min(record_time) AS first,
    max(record_time) AS last
FROM ${database}.rejected_events FINAL
WHERE code = 'subject_must_be_bound' AND $__timeFilter(record_time)
GROUP BY sentence
ORDER BY events DESC, reason
LIMIT 200
