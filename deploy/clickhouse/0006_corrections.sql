-- What was asked to be put right, each step a row, never changed: draft, pending_approval, approved,
-- applied, rejected. Every step is in audit_log first, whose row (audit_seq) holds all of this; a
-- row that a crash kept from being written here is written from there. exposure is the money that
-- moves, without its sign. payload is canonical JSON, by kind. ORDER BY the correction and step: the
-- last step is in force, and writing one again changes nothing.
CREATE TABLE IF NOT EXISTS {database}.corrections
(
    correction_id String,
    step UInt32,
    state LowCardinality(String),
    kind LowCardinality(String),
    customer_id String,
    period String,
    period_start DateTime('UTC'),
    object String,
    payload String,
    author String,
    actor String,
    reason_code LowCardinality(String),
    note String,
    exposure Decimal(76, 4),
    currency LowCardinality(String),
    calculation_version UInt32,
    audit_seq UInt64,
    recorded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Replacing}(audit_seq)
ORDER BY (correction_id, step)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Corrections as they stand: the last step of each, and who asked for it when.
CREATE VIEW IF NOT EXISTS {database}.correction_states AS
SELECT
    correction_id,
    max(c.step) AS step,
    argMax(c.state, c.step) AS state,
    argMax(c.kind, c.step) AS kind,
    argMax(c.customer_id, c.step) AS customer_id,
    argMax(c.period, c.step) AS period,
    argMax(c.period_start, c.step) AS period_start,
    argMax(c.object, c.step) AS object,
    argMax(c.author, c.step) AS author,
    argMax(c.actor, c.step) AS actor,
    argMax(c.reason_code, c.step) AS reason_code,
    argMax(c.note, c.step) AS note,
    argMax(c.exposure, c.step) AS exposure,
    argMax(c.currency, c.step) AS currency,
    argMax(c.calculation_version, c.step) AS calculation_version,
    argMax(c.payload, c.step) AS payload,
    argMax(c.audit_seq, c.step) AS audit_seq,
    min(c.recorded_at) AS drafted_at,
    argMax(c.recorded_at, c.step) AS changed_at
FROM {database}.corrections AS c FINAL
GROUP BY correction_id;

-- Holds that are active: what is not to be invoiced until somebody releases it, by customer and the
-- start of the billing period. The order of holds and releases is that of the audit log.
CREATE VIEW IF NOT EXISTS {database}.invoice_holds AS
SELECT
    customer_id,
    period_start,
    argMax(s.correction_id, s.audit_seq) AS correction_id,
    argMax(s.reason_code, s.audit_seq) AS reason_code,
    argMax(s.note, s.audit_seq) AS note,
    argMax(s.author, s.audit_seq) AS actor,
    max(s.changed_at) AS held_since
FROM {database}.correction_states AS s
WHERE s.state = 'applied' AND s.kind IN ('hold', 'release')
GROUP BY customer_id, period_start
HAVING argMax(s.kind, s.audit_seq) = 'hold';
