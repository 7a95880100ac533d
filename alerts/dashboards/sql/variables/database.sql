SELECT DISTINCT database FROM system.tables WHERE name = 'usage_totals' ORDER BY database
