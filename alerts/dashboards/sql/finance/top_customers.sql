SELECT customer_id AS customer, any(plan) AS plan, sum(events) AS events,
    sum(amount) AS charged,
    toFloat64(charged) / nullIf(sum(toFloat64(charged)) OVER (), 0) AS share,
    sum(toFloat64(amount) * if(aggregation IN ('max', 'latest'), 1,
        dateDiff('second', period_start, period_end) / greatest(1,
            dateDiff('second', period_start,
                least(toDateTime(complete_to), period_end))))) AS projected,
    any(complete_to) AS `complete to`
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter}
GROUP BY customer_id
ORDER BY charged DESC, customer
LIMIT 50
