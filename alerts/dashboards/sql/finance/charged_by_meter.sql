SELECT meter, sum(amount) AS charged
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter}
GROUP BY meter
ORDER BY charged DESC, meter
