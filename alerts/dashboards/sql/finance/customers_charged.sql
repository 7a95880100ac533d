SELECT uniqExact(customer_id) AS customers,
    sum(toFloat64(amount)) / greatest(customers, 1) AS average,
    toUnixTimestamp64Milli(any(complete_to)) AS `complete to`
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter} AND amount != 0
