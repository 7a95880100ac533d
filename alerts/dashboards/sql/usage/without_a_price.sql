SELECT sum(events) AS events
FROM ${database}.unpriced_usage
WHERE month >= toStartOfMonth($__fromTime) AND month <= $__toTime
    AND {of_customer} AND {of_meter}
