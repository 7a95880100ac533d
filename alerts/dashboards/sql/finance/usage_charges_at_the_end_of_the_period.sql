SELECT sum(toFloat64(amount) * if(aggregation IN ('max', 'latest'), 1,
        dateDiff('second', period_start, period_end) / greatest(1,
            dateDiff('second', period_start,
                least(toDateTime(complete_to), period_end))))) AS projected,
    toUnixTimestamp64Milli(any(complete_to)) AS `complete to`
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter}
