SELECT countIf(status = 'over_commit') AS over,
    countIf(status = 'projected_over_commit') AS projected,
    count() AS commits,
    toUnixTimestamp64Milli(any(complete_to)) AS `complete to`
FROM ${database}.commit_position
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND (meter = '' OR {of_meter})
