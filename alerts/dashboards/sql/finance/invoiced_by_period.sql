SELECT period, sum(invoiced) AS invoiced, sum(adjusted) AS adjusted
FROM
(
    SELECT {month} AS period, total AS invoiced, toDecimal256(0, 4) AS adjusted
    FROM ${database}.invoices FINAL
    WHERE currency = '${currency}' AND {of_customer}
    UNION ALL
    SELECT {month}, toDecimal256(0, 4), total
    FROM ${database}.adjustments FINAL
    WHERE currency = '${currency}' AND {of_customer}
)
GROUP BY period
HAVING period >= formatDateTime(now() - INTERVAL 13 MONTH, '%Y-%m')
ORDER BY period
