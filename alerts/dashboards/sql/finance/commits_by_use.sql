SELECT customer_id AS customer, plan, if(meter = '', 'whole plan', meter) AS of, status,
    commit, used, overage, buffer,
    percent_of_commit AS `% of commit`,
    projected_percent_of_commit AS `% at the end`, complete_to AS `complete to`
FROM ${database}.commit_position
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND (meter = '' OR {of_meter})
ORDER BY `% of commit` DESC, customer, of, `group`
LIMIT 200
