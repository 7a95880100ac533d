SELECT {month} AS period, sum(p.overage) AS overage, sum(p.buffer) AS buffer
FROM ${database}.commit_position AS p
WHERE currency = '${currency}' AND {of_customer} AND (meter = '' OR {of_meter})
    AND period_start >= now() - INTERVAL 12 MONTH
GROUP BY period
ORDER BY period
