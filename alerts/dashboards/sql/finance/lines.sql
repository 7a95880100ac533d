SELECT customer_id AS customer, meter, `group`, plan, price_version AS version,
    quantity, included, overage, amount, complete_to AS `complete to`
FROM ${database}.period_charges
WHERE {in_period} AND currency = '${currency}'
    AND {of_customer} AND {of_meter}
ORDER BY amount DESC, customer, meter, `group`, part_start
LIMIT 200
