-- Runs of the reconciler. The row is written last, after findings and review records, and makes
-- them visible. Arrays that belong together are of one length: inputs (role, file name, SHA-256,
-- rows), comparisons (both books of a check in one currency), sums (findings by check, class and
-- currency; sum_amounts is signed), counts. Append-only; the newest of a period is asked for.
CREATE TABLE IF NOT EXISTS {database}.reconciliation_runs
(
    run_id String,
    period LowCardinality(String),
    started_at DateTime64(6, 'UTC'),
    finished_at DateTime64(6, 'UTC'),
    actor String,
    exit_code UInt8,
    findings UInt64,
    tolerated UInt64,
    checks Array(String),
    notes Array(String),
    cut_runs Array(String),
    input_roles Array(String),
    input_names Array(String),
    input_sha256 Array(String),
    input_rows Array(UInt64),
    count_names Array(String),
    counts Array(UInt64),
    compared_checks Array(String),
    compared_currencies Array(String),
    compared_expected Array(Decimal(76, 12)),
    compared_got Array(Decimal(76, 12)),
    sum_checks Array(String),
    sum_classes Array(String),
    sum_currencies Array(String),
    sum_findings Array(UInt64),
    sum_amounts Array(Decimal(76, 12)),
    sum_open_amounts Array(Decimal(76, 12))
)
ENGINE = {engine:Plain}
ORDER BY (period, started_at, run_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What a run found. amount is the later book less the earlier one, signed; the amounts of a run,
-- check and currency add up to the difference of both books. Append-only, in order of the run.
CREATE TABLE IF NOT EXISTS {database}.reconciliation_findings
(
    run_id String,
    number UInt64,
    check_name LowCardinality(String),
    class LowCardinality(String),
    severity LowCardinality(String),
    tolerated Bool,
    customer_id String,
    meter LowCardinality(String),
    `group` String,
    kind LowCardinality(String),
    period LowCardinality(String),
    period_start String,
    part_start String,
    invoice_id String,
    line_id String,
    reference String,
    currency LowCardinality(String),
    amount Decimal(76, 12),
    expected_amount Decimal(76, 12),
    got_amount Decimal(76, 12),
    expected_quantity Nullable(Decimal(76, 12)),
    got_quantity Nullable(Decimal(76, 12)),
    reason String
)
ENGINE = {engine:Plain}
ORDER BY (run_id, number)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Findings of runs that came to their end.
CREATE VIEW IF NOT EXISTS {database}.reconciliation_variances AS
SELECT f.*, r.started_at AS started_at, r.finished_at AS finished_at
FROM {database}.reconciliation_findings AS f
INNER JOIN
(
    SELECT run_id, any(started_at) AS started_at, max(finished_at) AS finished_at
    FROM {database}.reconciliation_runs GROUP BY run_id
) AS r ON r.run_id = f.run_id;

-- Review records, every step a row: what a run of the reconciler says of a customer, meter and
-- period (run_id), or what a person did (action other than reconciled; actor and note). The newest
-- by recorded_at is in force; each is whole, so none has to be put together. recorded_at of a run's
-- rows is when it read what people had done, so that a step taken meanwhile stays in force.
-- Append-only. ORDER BY the period first: the list that people work on is of one.
CREATE TABLE IF NOT EXISTS {database}.review_records_log
(
    period LowCardinality(String),
    customer_id String,
    meter LowCardinality(String),
    id String,
    workspace_id String,
    customer_name String,
    plan LowCardinality(String),
    product LowCardinality(String),
    currency LowCardinality(String),
    expected Decimal(76, 12),
    quantity Decimal(76, 12),
    delta Decimal(76, 12),
    unit_price Decimal(76, 12),
    invoice_impact Decimal(76, 12),
    status LowCardinality(String),
    severity LowCardinality(String),
    invoice_hold Bool,
    reason String,
    source LowCardinality(String),
    batch_id String,
    schema_version LowCardinality(String),
    reviewer String,
    received_at DateTime('UTC'),
    action LowCardinality(String),
    actor String,
    note String,
    run_id String,
    recorded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Plain}
ORDER BY (period, customer_id, meter, recorded_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Review records as they stand: all columns, also who reviews and what was expected.
CREATE VIEW IF NOT EXISTS {database}.review_worklist AS
SELECT *
FROM {database}.review_records_log
WHERE run_id = '' OR run_id IN (SELECT run_id FROM {database}.reconciliation_runs)
ORDER BY recorded_at DESC, action = 'reconciled', run_id DESC
LIMIT 1 BY period, customer_id, meter;

-- Review records in the shape that billing consoles read: nested names are JSON objects in
-- FORMAT JSONEachRow.
CREATE VIEW IF NOT EXISTS {database}.review_records AS
SELECT
    id,
    workspace_id AS workspaceId,
    CAST((customer_id, customer_name, plan), 'Tuple(id String, name String, plan String)')
        AS customer,
    product,
    meter,
    period,
    quantity,
    unit_price AS unitPrice,
    invoice_impact AS invoiceImpact,
    status,
    CAST((delta, reason, severity, invoice_hold),
        'Tuple(delta Decimal(76, 12), reason String, severity String, invoiceHold Bool)')
        AS reconciliation,
    CAST((source, batch_id, received_at, schema_version),
        'Tuple(source String, batchId String, receivedAt DateTime(\'UTC\'), schemaVersion String)')
        AS ingestion
FROM {database}.review_worklist;
