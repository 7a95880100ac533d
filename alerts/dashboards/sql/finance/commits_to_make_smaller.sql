SELECT customer_id AS customer, groupUniqArray(if(meter = '', 'whole plan', meter)) AS of,
    sum(p.commit) AS commit, sum(p.buffer) AS buffer,
    toFloat64(buffer) / nullIf(toFloat64(commit), 0) AS unused,
    any(p.complete_to) AS `complete to`
FROM ${database}.commit_position AS p
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND (meter = '' OR {of_meter})
GROUP BY customer_id
HAVING buffer > 0
ORDER BY buffer DESC, customer
LIMIT 50
