SELECT DISTINCT meter FROM ${database}.usage_totals ORDER BY meter
