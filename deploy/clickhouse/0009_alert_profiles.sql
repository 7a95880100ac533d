-- Detection keeps what is usual for a pair as a running profile, so that judging an hour reads one
-- row of each pair and not eight weeks of them. What it took the place of was worked out anew from
-- usage_marks, and nothing refers to it. A row is needed for a week after it was written, and TTL
-- counts from then: a deployment that begins with history writes months at once.
DROP TABLE IF EXISTS {database}.usage_references;
DROP TABLE IF EXISTS {database}.usage_strays;
DROP TABLE IF EXISTS {database}.usage_stray_weeks;

-- What is usual for each pair at mark, by window (1, 3, 8, 24, 72 and 168 hours): worked out of the
-- row of a week before and of usage_marks an hour around mark, so writing it again writes the same;
-- the newest row counts. high and low are running means of the greatest and the least of the three
-- marks; high_share and low_share the same as a share of base, the week before without its last
-- day. weeks is how many were folded in, idle how many without usage came last; unit_q by unit_n
-- is the quantity of an event. ORDER BY mark: judging reads that of a week ago.
CREATE TABLE IF NOT EXISTS {database}.usage_profiles
(
    mark DateTime('UTC'),
    pair UInt64,
    is_level Bool,
    weeks UInt8,
    idle UInt8,
    base Float32,
    unit_q Float32,
    unit_n Float32,
    high Array(Float32),
    low Array(Float32),
    high_share Array(Float32),
    low_share Array(Float32),
    built_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Replacing}(built_at)
PARTITION BY toMonday(mark)
ORDER BY (mark, pair)
TTL toDateTime(built_at) + INTERVAL 21 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far each pair strays from its profile in one hour of a hundred, in deviations, by window and
-- direction: worked out of the day before and of usage_deviations, so writing it again writes the
-- same. ORDER BY day: judging reads that of yesterday.
CREATE TABLE IF NOT EXISTS {database}.usage_noise
(
    day Date,
    pair UInt64,
    up Array(Float32),
    down Array(Float32),
    built_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Replacing}(built_at)
PARTITION BY toMonday(day)
ORDER BY (day, pair)
TTL toDateTime(built_at) + INTERVAL 21 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Windows that stray further than that, at each mark: scale is the hours of the window, deviations
-- above zero mean more than usual, noise is how many of them were nothing yet, and day how many the
-- day strays. q and n are quantity and events, usual what was expected at most (or at least, below
-- zero) and usual_day the same of the day. Kept to explain a finding; the newest row counts.
CREATE TABLE IF NOT EXISTS {database}.usage_deviations
(
    mark DateTime('UTC'),
    pair UInt64,
    scale UInt16,
    deviations Float32,
    noise Float32,
    day Float32,
    weeks UInt8,
    q Float64,
    n Float64,
    usual Float64,
    usual_day Float64,
    usual_week Float64,
    unit Float64,
    judged_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:Replacing}(judged_at)
PARTITION BY toMonday(mark)
ORDER BY (mark, pair, scale)
TTL toDateTime(judged_at) + INTERVAL 21 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
