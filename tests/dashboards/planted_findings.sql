INSERT INTO alert_findings
SELECT kind, customer_id, 'api_requests', '', '', toStartOfHour(now()) - INTERVAL at HOUR, state,
    concat('finding-', toString(at)), hours, observed, '96', ratio, 'request', now64(3), sentence,
    now64(3) - INTERVAL at * 60 - if(state = 'resolved', 30, 0) MINUTE
FROM
(
    SELECT 'spike' AS kind, 'helio-ai' AS customer_id, 1 AS at, ['opened'] AS states, 1 AS hours,
        '412' AS observed, 4.2917 AS ratio,
        'helio-ai api_requests spikes: 412 request, expected 96 in 1 h' AS sentence
    UNION ALL
    SELECT 'silence', 'umbra-labs', 26, ['opened'], 3, '0', 0,
        'umbra-labs api_requests is silent: 0 request, expected 96 in 3 h'
    UNION ALL
    SELECT 'drop', 'acme-robotics', 50, ['opened', 'resolved'], 8, '31', 0.3229,
        'acme-robotics api_requests drops: 31 request, expected 96 in 8 h'
)
ARRAY JOIN states AS state;
INSERT INTO reconciliation_runs (run_id, period, started_at, finished_at, actor, exit_code,
    findings, tolerated, checks, cut_runs)
SELECT concat('reconcile-', period), period, now64(6), now64(6), 'finance', 1, 3, 1,
    ['totals', 'invoices'], [run_id]
FROM billing_runs
WHERE state = 'finished';
INSERT INTO reconciliation_findings (run_id, number, check_name, class, severity, tolerated,
    customer_id, meter, period, currency, amount, expected_amount, got_amount, reason)
SELECT concat('reconcile-', period), number, 'invoices', class, 'high', number = 3, customer, 'api_requests',
    period, 'USD', amount, 100, 100 + amount, 'planted'
FROM (SELECT DISTINCT period FROM billing_runs) AS r
CROSS JOIN
(
    SELECT 1 AS number, 'missing_in_invoice' AS class, 'acme-robotics' AS customer,
        toDecimal256(-42, 12) AS amount
    UNION ALL
    SELECT 2, 'late', 'ember-games', toDecimal256(7, 12)
    UNION ALL
    SELECT 3, 'rounding', 'acme-robotics', toDecimal256(1, 12) / 100
) AS f;
INSERT INTO review_records_log (period, customer_id, meter, id, currency, invoice_impact, status,
    severity, invoice_hold, reason, run_id, action, recorded_at)
SELECT period, 'acme-robotics', 'api_requests', 'r-1', 'USD', -42, 'needs-review', 'high', true,
    'missing in invoice', concat('reconcile-', period), 'reconciled', now64(6)
FROM (SELECT DISTINCT period FROM billing_runs) AS r
