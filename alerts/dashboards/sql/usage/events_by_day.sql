SELECT toString(d.day) AS day, accepted - late AS accepted, late, duplicates, rejected
FROM ${database}.daily_completeness AS d
WHERE d.day >= toDate($__fromTime) AND d.day <= toDate($__toTime)
ORDER BY day
