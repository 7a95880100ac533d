SELECT day, if(is_complete, 'complete', 'still open') AS state, accepted,
    late, duplicates, rejected, complete_to AS `complete to`
FROM ${database}.daily_completeness
WHERE day >= toDate($__fromTime) AND day <= toDate($__toTime)
ORDER BY day DESC
LIMIT 92
