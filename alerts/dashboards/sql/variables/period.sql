SELECT DISTINCT {month} AS period FROM ${database}.billing_periods ORDER BY period DESC LIMIT 36
