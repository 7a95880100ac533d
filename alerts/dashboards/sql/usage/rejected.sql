SELECT count() AS rejected
FROM ${database}.rejected_events FINAL
WHERE $__timeFilter(record_time)
