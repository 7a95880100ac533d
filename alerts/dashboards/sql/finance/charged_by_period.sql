SELECT {month} AS period, sum(amount) AS charged
FROM ${database}.period_charges
WHERE currency = '${currency}' AND {of_customer} AND {of_meter}
    AND period_start >= now() - INTERVAL 12 MONTH
GROUP BY period
ORDER BY period
