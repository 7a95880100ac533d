SELECT sum(base_fee) AS fees, toUnixTimestamp64Milli((SELECT complete_to FROM ${database}.complete_to)) AS `complete to`
FROM ${database}.billing_periods FINAL
WHERE {in_period} AND currency = '${currency}' AND {of_customer}
