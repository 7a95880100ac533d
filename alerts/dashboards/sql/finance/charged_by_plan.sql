SELECT concat(plan, ' v', toString(price_version)) AS plan_version,
    sum(amount) AS charged
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter}
GROUP BY plan_version
ORDER BY charged DESC, plan_version
