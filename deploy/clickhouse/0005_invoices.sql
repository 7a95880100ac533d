-- Events that a correction took back, by identity: what they said stays in raw history, and they
-- are not counted any more. The newest row of an identity is in force.
CREATE TABLE IF NOT EXISTS {database}.retracted_events
(
    customer_id String,
    meter LowCardinality(String),
    identity FixedString(16),
    correction_id String,
    is_retracted Bool,
    recorded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Replacing}(recorded_at)
ORDER BY (customer_id, meter, identity)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Closes and adjustments, each step a row, the newest in force: started says with which cut and
-- which catalog, before anything else is written, so that a run that was interrupted goes on with
-- both; finished says that all of it stands. The cut is three arrays of one length: every
-- partition, and the first offset of it that is not looked at. Append-only, in order of time.
CREATE TABLE IF NOT EXISTS {database}.billing_runs
(
    run_id String,
    kind LowCardinality(String),
    period String,
    state LowCardinality(String),
    catalog String,
    cut_streams Array(String),
    cut_partitions Array(UInt32),
    cut_offsets Array(UInt64),
    complete_to DateTime64(3, 'UTC'),
    customers UInt64,
    actor String,
    reason String,
    recorded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Plain}
ORDER BY (kind, period, run_id, recorded_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The customers of a close or an adjustment (see billing_runs), written before the row that says
-- started: so a run that was interrupted goes on with the same ones. ORDER BY the run alone:
-- that is what is asked for.
CREATE TABLE IF NOT EXISTS {database}.billing_run_customers
(
    run_id String,
    customer_id String
)
ENGINE = {engine:Replacing}
ORDER BY (run_id, customer_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Issued invoices, one for a customer and billing period, never changed: the first row that was
-- written is the one that counts. It is written after its lines and makes them visible. lines_hash
-- is of all of them, in order. ORDER BY the customer first, as every question of finance.
CREATE TABLE IF NOT EXISTS {database}.invoices
(
    customer_id String,
    period_start DateTime('UTC'),
    period_end DateTime('UTC'),
    invoice_id String,
    run_id String,
    subscription String,
    plan LowCardinality(String),
    currency LowCardinality(String),
    minor_digits UInt8,
    rounding LowCardinality(String),
    total Decimal(76, 4),
    lines UInt32,
    lines_hash String,
    calculation_version UInt32,
    catalog String,
    issued_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED bitNot(reinterpretAsUInt64(toUnixTimestamp64Micro(issued_at)))
)
ENGINE = {engine:Replacing}(version)
ORDER BY (customer_id, period_start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The lines of invoices. kind is charge, true_up or base_fee; a charge is for a meter, a group and
-- a part of the period. The tier arrays say how overage was priced, tier by tier: units, price of
-- one, flat fee, and what that comes to. exact is before rounding, amount after. card is the rate
-- card of the charge (see rate_cards), 0 for other kinds. events and identities_hash are of what
-- contributed: their number, and the sum of a 128-bit hash of each one's identity, quantity and
-- time. ORDER BY invoice and place, after the customer.
CREATE TABLE IF NOT EXISTS {database}.invoice_lines
(
    customer_id String,
    period_start DateTime('UTC'),
    run_id String,
    line UInt32,
    line_id String,
    invoice_id String,
    kind LowCardinality(String),
    meter LowCardinality(String),
    `group` String,
    part_start DateTime('UTC'),
    part_end DateTime('UTC'),
    quantity Decimal(76, 12),
    included Decimal(76, 12),
    overage Decimal(76, 12),
    tier_units Array(Decimal(76, 12)),
    tier_unit_price Array(Decimal(76, 12)),
    tier_flat_fee Array(Decimal(76, 12)),
    tier_charge Array(Decimal(76, 24)),
    exact Decimal(76, 24),
    amount Decimal(76, 4),
    currency LowCardinality(String),
    plan LowCardinality(String),
    price_version UInt32,
    card UInt64,
    events UInt64,
    identities_hash FixedString(16)
)
ENGINE = {engine:Replacing}
ORDER BY (customer_id, period_start, run_id, line)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What changed in a billing period after its invoice was issued: one row for each customer, period
-- and run, written after its lines and events, which it makes visible. kind is late_usage, rerating
-- or credit. total is signed; posted_to is the start of the customer's open billing period that it
-- is charged in. The first row that was written counts.
CREATE TABLE IF NOT EXISTS {database}.adjustments
(
    customer_id String,
    period_start DateTime('UTC'),
    run_id String,
    adjustment_id String,
    invoice_id String,
    kind LowCardinality(String),
    posted_to DateTime('UTC'),
    currency LowCardinality(String),
    minor_digits UInt8,
    total Decimal(76, 4),
    lines UInt32,
    lines_hash String,
    calculation_version UInt32,
    catalog String,
    actor String,
    reason String,
    issued_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED bitNot(reinterpretAsUInt64(toUnixTimestamp64Micro(issued_at)))
)
ENGINE = {engine:Replacing}(version)
ORDER BY (customer_id, period_start, run_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The lines of adjustments, by what they are for, as lines of invoices: what was billed so far,
-- what is due by all that is known now, and the difference of both (signed).
CREATE TABLE IF NOT EXISTS {database}.adjustment_lines
(
    customer_id String,
    period_start DateTime('UTC'),
    run_id String,
    line UInt32,
    line_id String,
    adjustment_id String,
    kind LowCardinality(String),
    meter LowCardinality(String),
    `group` String,
    part_start DateTime('UTC'),
    part_end DateTime('UTC'),
    quantity_before Decimal(76, 12),
    quantity_after Decimal(76, 12),
    included_before Decimal(76, 12),
    included_after Decimal(76, 12),
    overage_before Decimal(76, 12),
    overage_after Decimal(76, 12),
    exact_before Decimal(76, 24),
    exact_after Decimal(76, 24),
    amount_before Decimal(76, 4),
    amount_after Decimal(76, 4),
    amount Decimal(76, 4),
    currency LowCardinality(String),
    plan LowCardinality(String),
    price_version UInt32,
    card UInt64,
    events UInt64,
    identities_hash FixedString(16)
)
ENGINE = {engine:Replacing}
ORDER BY (customer_id, period_start, run_id, line)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The events behind a line of an adjustment, by coordinate: those that came after what was billed
-- so far (effect added), and those that were taken back since (effect retracted).
CREATE TABLE IF NOT EXISTS {database}.adjustment_events
(
    customer_id String,
    period_start DateTime('UTC'),
    run_id String,
    line UInt32,
    stream LowCardinality(String),
    partition UInt32,
    offset UInt64,
    `index` UInt16,
    effect LowCardinality(String),
    id String,
    identity FixedString(16),
    occurred_at DateTime64(6, 'UTC'),
    record_time DateTime64(3, 'UTC'),
    quantity Decimal(38, 12)
)
ENGINE = {engine:Replacing}
ORDER BY (customer_id, period_start, run_id, line, stream, partition, offset, `index`, effect)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Raw history that counts: every identity once, without what is kept and not billed, and without
-- what a correction took back. What charges derive from.
CREATE VIEW IF NOT EXISTS {database}.billable_events AS
SELECT *
FROM {database}.usage_events FINAL
WHERE NOT disregarded AND (customer_id, meter, identity) NOT IN
(
    SELECT customer_id, meter, identity FROM {database}.retracted_events FINAL WHERE is_retracted
);

-- Lines of issued invoices as finance reads them: those that an invoice makes visible.
CREATE VIEW IF NOT EXISTS {database}.invoice_lines_explained AS
SELECT
    i.invoice_id AS invoice_id, l.line AS line, l.line_id AS line_id,
    i.customer_id AS customer_id, i.subscription AS subscription,
    i.period_start AS period_start, i.period_end AS period_end,
    l.kind AS kind, toString(l.meter) AS meter, l.`group` AS `group`,
    l.part_start AS part_start, l.part_end AS part_end,
    l.quantity AS quantity, l.included AS included, l.overage AS overage,
    l.tier_units AS tier_units, l.tier_unit_price AS tier_unit_price,
    l.tier_flat_fee AS tier_flat_fee, l.tier_charge AS tier_charge,
    l.exact AS exact, l.amount AS amount, i.currency AS currency,
    l.plan AS plan, l.price_version AS price_version, l.card AS card,
    l.events AS events, l.identities_hash AS identities_hash,
    i.calculation_version AS calculation_version, i.catalog AS catalog,
    i.run_id AS run_id, i.issued_at AS issued_at
FROM (SELECT * FROM {database}.invoices FINAL) AS i
INNER JOIN (SELECT * FROM {database}.invoice_lines FINAL) AS l
    ON l.customer_id = i.customer_id AND l.period_start = i.period_start AND l.run_id = i.run_id;

-- Lines of adjustments as finance reads them: those that an adjustment makes visible.
CREATE VIEW IF NOT EXISTS {database}.adjustment_lines_explained AS
SELECT
    a.adjustment_id AS adjustment_id, a.invoice_id AS invoice_id, a.kind AS adjustment_kind,
    l.line AS line, l.line_id AS line_id, a.customer_id AS customer_id,
    a.period_start AS period_start, a.posted_to AS posted_to,
    l.kind AS kind, toString(l.meter) AS meter, l.`group` AS `group`,
    l.part_start AS part_start, l.part_end AS part_end,
    l.quantity_before AS quantity_before, l.quantity_after AS quantity_after,
    l.quantity_after - l.quantity_before AS quantity,
    l.included_after - l.included_before AS included,
    l.overage_after - l.overage_before AS overage,
    l.amount_before AS amount_before, l.amount_after AS amount_after, l.amount AS amount,
    a.currency AS currency, l.plan AS plan, l.price_version AS price_version,
    l.events AS events, l.identities_hash AS identities_hash,
    a.calculation_version AS calculation_version, a.actor AS actor, a.reason AS reason,
    a.run_id AS run_id, a.issued_at AS issued_at
FROM (SELECT * FROM {database}.adjustments FINAL) AS a
INNER JOIN (SELECT * FROM {database}.adjustment_lines FINAL) AS l
    ON l.customer_id = a.customer_id AND l.period_start = a.period_start AND l.run_id = a.run_id;
