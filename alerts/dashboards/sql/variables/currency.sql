SELECT currency
FROM ${database}.billing_periods
GROUP BY currency
ORDER BY count() DESC, currency
