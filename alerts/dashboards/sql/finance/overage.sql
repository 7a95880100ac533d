SELECT sum(p.overage) AS overage,
    toUnixTimestamp64Milli(any(complete_to)) AS `complete to`
FROM ${database}.commit_position AS p
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND (meter = '' OR {of_meter})
