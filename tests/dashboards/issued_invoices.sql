INSERT INTO billing_runs
SELECT concat('run-', period), 'close', period, state, 'catalog', ['live'], [0], [1],
    toDateTime64(max(period_end), 3) + INTERVAL 1 DAY, uniqExact(customer_id), 'finance', '',
    toDateTime64(max(period_end), 6) + INTERVAL 2 DAY + INTERVAL if(state = 'started', 0, 9) MINUTE
FROM
(
    SELECT formatDateTime(period_start, '%Y-%m') AS period, period_end, customer_id
    FROM period_charges
    WHERE period_end < now() AND currency != ''
)
ARRAY JOIN ['started', 'finished'] AS state
GROUP BY period, state;
INSERT INTO invoices
SELECT b.customer_id, b.period_start, b.period_end,
    concat('INV-', formatDateTime(b.period_start, '%Y%m'), '-', b.customer_id),
    concat('run-', formatDateTime(b.period_start, '%Y-%m')), b.subscription, b.plan, b.currency,
    b.minor_digits, b.rounding,
    toDecimal256(b.base_fee, 4) + toDecimal256(c.charged, 4), toUInt32(c.lines + 1), 'hash', 1,
    'catalog', toDateTime64(b.period_end, 6) + INTERVAL 2 DAY
FROM (SELECT * FROM billing_periods FINAL) AS b
INNER JOIN
(
    SELECT customer_id, period_start, sum(amount) AS charged, count() AS lines
    FROM period_charges
    WHERE period_end < now()
    GROUP BY customer_id, period_start
) AS c ON c.customer_id = b.customer_id AND c.period_start = b.period_start
WHERE b.period_end < now();
INSERT INTO adjustments
SELECT customer_id, period_start, run_id, concat('ADJ-', invoice_id), invoice_id,
    if(cityHash64(customer_id) % 2 = 0, 'late_usage', 'credit'), period_end, currency, minor_digits,
    if(cityHash64(customer_id) % 2 = 0, 1, -1) * toDecimal256(total, 4) / 40, 1, 'hash', 1,
    'catalog', 'finance', if(cityHash64(customer_id) % 2 = 0, 'usage after close', 'goodwill'),
    issued_at + INTERVAL 3 DAY
FROM invoices FINAL
WHERE cityHash64(customer_id, period_start) % 3 = 0
