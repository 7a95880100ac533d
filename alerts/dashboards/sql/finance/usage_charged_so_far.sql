SELECT sum(amount) AS charged,
    toUnixTimestamp64Milli(any(complete_to)) AS `complete to`
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter}
