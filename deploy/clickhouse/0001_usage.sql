-- What was accepted: one row per event, the authority that invoices derive from.
-- ORDER BY is the identity, so the same event can never stand twice under FINAL, however often it
-- was written and whatever was lost elsewhere. customer_id and meter lead because every question
-- of finance starts with them. The first writer wins: the version is the complement of the order
-- (record time, partition, offset, index). By month of occurred_at, so that retention is a DROP.
-- Written with LZ4, which costs least while rows are merged often, and packed tighter after a week.
-- Merged ten parts at a time rather than five, and without statistics of every column, which
-- take a sixth of the server's time and 10 bytes a row.
CREATE TABLE IF NOT EXISTS {database}.usage_events
(
    customer_id String,
    meter LowCardinality(String),
    identity FixedString(16) CODEC(NONE),
    `group` String,
    id String,
    subject String,
    quantity Decimal(38, 12),
    occurred_at DateTime64(6, 'UTC'),
    dimensions String,
    source LowCardinality(String),
    batch_id String,
    schema_version LowCardinality(String),
    stream LowCardinality(String),
    partition UInt32,
    offset UInt64,
    `index` UInt16,
    record_time DateTime64(3, 'UTC'),
    late Bool,
    disregarded Bool,
    counted Bool,
    part_start DateTime('UTC'),
    period_start DateTime('UTC'),
    cumulative_before Decimal(76, 12),
    included Decimal(76, 12),
    overage Decimal(76, 12),
    charge Decimal(76, 24),
    card UInt64,
    price_version LowCardinality(String),
    catalog LowCardinality(String),
    digest UInt32 CODEC(NONE),
    ingested_at DateTime('UTC') DEFAULT now(),
    version UInt128 MATERIALIZED bitNot(
        bitShiftLeft(toUInt128(toUnixTimestamp64Milli(record_time)), 84)
        + bitShiftLeft(toUInt128(partition), 64)
        + bitShiftLeft(toUInt128(offset), 12)
        + toUInt128(`index`))
)
ENGINE = {engine:Replacing}(version)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (customer_id, meter, identity)
TTL toDateTime(record_time) + INTERVAL 7 DAY RECOMPRESS CODEC(ZSTD(3))
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
    {known:auto_statistics_types = ''}
    {known:compute_exact_num_defaults_for_sparse_columns = 0}
    {known:merge_selector_base = 10};

-- What is known about a (customer, meter, group, window): absolute values per source partition.
-- absorbed_offset is the last offset of the flush that wrote the row; as the version it makes a
-- replay rewrite the same value and a zombie lose. NOT partitioned by time: the totals of one
-- flush must land as one part, all or nothing.
CREATE TABLE IF NOT EXISTS {database}.usage_totals
(
    customer_id String,
    meter LowCardinality(String),
    `group` String,
    window_start DateTime('UTC'),
    stream LowCardinality(String),
    partition UInt32,
    aggregation LowCardinality(String),
    quantity Decimal(76, 12),
    included Decimal(76, 12),
    overage Decimal(76, 12),
    charge Decimal(76, 24),
    card UInt64,
    period_start DateTime('UTC'),
    part_start DateTime('UTC'),
    events UInt64,
    late_events UInt64,
    first_occurred_at DateTime64(6, 'UTC'),
    last_occurred_at DateTime64(6, 'UTC'),
    last_identity FixedString(16),
    absorbed_offset UInt64,
    updated_at DateTime('UTC') DEFAULT now()
)
ENGINE = {engine:Replacing}(absorbed_offset)
ORDER BY (customer_id, meter, `group`, window_start, stream, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
    {known:auto_statistics_types = ''}
    {known:compute_exact_num_defaults_for_sparse_columns = 0};

-- What came again: a record of every duplicate, by coordinate, with the coordinate that owns the
-- identity. Keyed by coordinate, so that a replay rewrites the same rows.
CREATE TABLE IF NOT EXISTS {database}.duplicate_events
(
    stream LowCardinality(String),
    partition UInt32,
    offset UInt64,
    `index` UInt16,
    customer_id String,
    meter LowCardinality(String),
    id String,
    identity FixedString(16),
    occurred_at DateTime64(6, 'UTC'),
    record_time DateTime64(3, 'UTC'),
    owner_partition Int32,
    owner_offset UInt64,
    owner_index UInt16,
    recorded_at DateTime('UTC') DEFAULT now()
)
ENGINE = {engine:Replacing}(recorded_at)
ORDER BY (stream, partition, offset, `index`)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What could not be counted: code, sentence and the bytes as received, by coordinate.
CREATE TABLE IF NOT EXISTS {database}.rejected_events
(
    stream LowCardinality(String),
    partition UInt32,
    offset UInt64,
    `index` UInt16,
    code LowCardinality(String),
    sentence String,
    event String,
    id String,
    customer_id String,
    meter String,
    record_time DateTime64(3, 'UTC'),
    rejected_at DateTime('UTC') DEFAULT now()
)
ENGINE = {engine:Replacing}(rejected_at)
ORDER BY (stream, partition, offset, `index`)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Which rejected events were sent again, how often and by whom: append-only.
CREATE TABLE IF NOT EXISTS {database}.reject_replays
(
    stream LowCardinality(String),
    partition UInt32,
    offset UInt64,
    `index` UInt16,
    edited Bool,
    actor String,
    replayed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Plain}
ORDER BY (stream, partition, offset, `index`, replayed_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What an operator's rule dropped: the coordinate and the rule, nothing of the event.
CREATE TABLE IF NOT EXISTS {database}.suppressed_events
(
    stream LowCardinality(String),
    partition UInt32,
    offset UInt64,
    `index` UInt16,
    rule LowCardinality(String),
    record_time DateTime64(3, 'UTC')
)
ENGINE = {engine:Replacing}
ORDER BY (stream, partition, offset, `index`)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Offsets of the log that hold no record for a consumer: control records and compaction, or, with
-- the reason `lost`, what was gone before it was read and an operator accepted as lost.
-- first_offset inclusive, next_offset exclusive. Keyed by both, and read as a set of offsets.
CREATE TABLE IF NOT EXISTS {database}.offset_gaps
(
    stream LowCardinality(String),
    partition UInt32,
    first_offset UInt64,
    next_offset UInt64,
    reason LowCardinality(String) DEFAULT 'control'
)
ENGINE = {engine:Replacing}
ORDER BY (stream, partition, first_offset, next_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far each partition is durable and complete. Every column is a maximum or minimum over its
-- history, so writing it again, or late, changes nothing.
CREATE TABLE IF NOT EXISTS {database}.watermarks
(
    stream LowCardinality(String),
    partition UInt32,
    first_offset SimpleAggregateFunction(min, UInt64),
    next_offset SimpleAggregateFunction(max, UInt64),
    watermark SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    written_at SimpleAggregateFunction(max, DateTime('UTC')) DEFAULT now()
)
ENGINE = {engine:Aggregating}
ORDER BY (stream, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The logs that were ever read: a topic with its id, or a backfill. kind is live or backfill.
CREATE TABLE IF NOT EXISTS {database}.streams
(
    stream String,
    kind LowCardinality(String),
    topic String,
    topic_id String,
    created_at DateTime64(3, 'UTC')
)
ENGINE = {engine:Replacing}
ORDER BY (stream)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The dedup memories that were ever adopted; the newest is in force. Append-only.
CREATE TABLE IF NOT EXISTS {database}.dedup_memories
(
    marker String,
    servers String,
    reason String,
    adopted_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Plain}
ORDER BY (adopted_at, marker)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
