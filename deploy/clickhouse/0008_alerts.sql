-- What detection of spikes, drops and silence reads: usage by hour, ordered by time, so that an
-- evaluation reads the hours it compares and not all of usage_totals. Rows are copies of rows of
-- usage_totals with the same version, so copying again, or late, changes nothing. Numbers are
-- rounded (Float64): good for statistics, never for a bill. first_s and last_s say between which
-- seconds of the hour usage lay. By week, so that what is too old to compare with is a DROP.
CREATE TABLE IF NOT EXISTS {database}.usage_hours
(
    window_start DateTime('UTC'),
    customer_id String,
    meter LowCardinality(String),
    `group` String,
    stream LowCardinality(String),
    partition UInt32,
    is_level Bool,
    quantity Float64,
    events UInt64,
    first_s UInt16,
    last_s UInt16,
    absorbed_offset UInt64
)
ENGINE = {engine:Replacing}(absorbed_offset)
PARTITION BY toMonday(window_start)
ORDER BY (window_start, customer_id, meter, `group`, stream, partition)
TTL window_start + INTERVAL 70 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Usage of each pair (customer, meter) over the last 1, 3, 8, 24, 72 and 168 hours before mark, a
-- whole hour: q and n hold its quantity and events over each. A pair without usage in the last 168
-- hours has no row. Of levels q is the greatest value of an hour, of others the sum. Worked out
-- from usage_hours, again for hours that late usage changed; the newest row counts. ORDER BY mark:
-- an evaluation reads that of now and those of the same hour of earlier weeks.
CREATE TABLE IF NOT EXISTS {database}.usage_marks
(
    mark DateTime('UTC'),
    pair UInt64,
    is_level Bool,
    q Array(Float32),
    n Array(Float32),
    built_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Replacing}(built_at)
PARTITION BY toMonday(mark)
ORDER BY (mark, pair)
TTL mark + INTERVAL 70 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What a mark says to marks of later weeks: usage comes an hour earlier or later now and then, so
-- low and high are the least and the greatest of the mark and its neighbours, low_n is the least
-- number of events. base is the week before without its last day, whole_q and whole_n all of it.
CREATE TABLE IF NOT EXISTS {database}.usage_references
(
    mark DateTime('UTC'),
    pair UInt64,
    is_level Bool,
    low Array(Float32),
    high Array(Float32),
    low_n Array(Float32),
    base Float32,
    whole_q Float32,
    whole_n Float32,
    built_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Replacing}(built_at)
PARTITION BY toMonday(mark)
ORDER BY (mark, pair)
TTL mark + INTERVAL 70 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Windows that stray from what is usual for them, at each mark: scale is the hours of the window,
-- strays by how many usual deviations (above zero: more than usual). Kept to
-- explain a finding; the newest row counts.
CREATE TABLE IF NOT EXISTS {database}.usage_strays
(
    mark DateTime('UTC'),
    pair UInt64,
    scale UInt16,
    strays Float32,
    is_usual Bool,
    weeks UInt8,
    q Float64,
    n Float64,
    high Float64,
    low Float64,
    unit Float64,
    evidence Float64,
    usual_week Float64,
    judged_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Replacing}(judged_at)
PARTITION BY toMonday(mark)
ORDER BY (mark, pair, scale)
TTL mark + INTERVAL 70 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far each pair strayed in a week, at most, in either direction: what is normal for it. Every
-- column is a maximum, so judging an hour again changes nothing.
CREATE TABLE IF NOT EXISTS {database}.usage_stray_weeks
(
    week Date,
    pair UInt64,
    scale UInt16,
    up SimpleAggregateFunction(max, Float32),
    down SimpleAggregateFunction(max, Float32)
)
ENGINE = {engine:Aggregating}
ORDER BY (week, pair, scale)
TTL week + INTERVAL 77 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The name of each pair, and between which hours it was ever seen. Every column is a maximum or
-- minimum, so writing it again changes nothing.
CREATE TABLE IF NOT EXISTS {database}.usage_pairs
(
    pair UInt64,
    customer_id SimpleAggregateFunction(any, String),
    meter SimpleAggregateFunction(any, String),
    first_hour SimpleAggregateFunction(min, DateTime('UTC')),
    last_hour SimpleAggregateFunction(max, DateTime('UTC'))
)
ENGINE = {engine:Aggregating}
ORDER BY (pair)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far a step of detection has come; a maximum, so it never goes back.
CREATE TABLE IF NOT EXISTS {database}.alert_progress
(
    step LowCardinality(String),
    done_to SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = {engine:Aggregating}
ORDER BY (step)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What detection found, append-only: a row for each change of a finding's state, opened or
-- resolved. A finding is known by kind, customer, meter, group, threshold and window (the hour or
-- the billing period that it began with); finding_id is a hash of these, so whoever writes it
-- again writes the same row. observed and expected are rounded, as whole numbers of neither.
CREATE TABLE IF NOT EXISTS {database}.alert_findings
(
    kind LowCardinality(String),
    customer_id String,
    meter LowCardinality(String),
    `group` String,
    threshold LowCardinality(String),
    window_start DateTime('UTC'),
    state LowCardinality(String),
    finding_id String,
    window_hours UInt32,
    observed String,
    expected String,
    ratio Nullable(Float64),
    unit LowCardinality(String),
    complete_to DateTime64(3, 'UTC'),
    sentence String,
    recorded_at DateTime64(3, 'UTC')
)
ENGINE = {engine:Replacing}
ORDER BY (kind, customer_id, meter, `group`, threshold, window_start, state)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Which change of a finding was delivered to which outlet (topic, webhook), written after the
-- outlet took it. A crash in between delivers it again, under the same id.
CREATE TABLE IF NOT EXISTS {database}.alert_deliveries
(
    outlet LowCardinality(String),
    finding_id String,
    state LowCardinality(String),
    delivered_at DateTime64(3, 'UTC')
)
ENGINE = {engine:Replacing}
ORDER BY (outlet, finding_id, state)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
