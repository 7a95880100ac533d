-- Every form in which a plan's price version was ever loaded: canonical JSON and its SHA-256.
-- Append-only; the newest loaded_at of a (plan, version) is in force, and one that took effect
-- changes only with a row in audit_log. Asked by plan, so that leads.
CREATE TABLE IF NOT EXISTS {database}.plan_versions
(
    plan LowCardinality(String),
    version UInt32,
    effective_from DateTime64(6, 'UTC'),
    content String,
    content_hash String,
    withdrawn Bool,
    catalog_hash String,
    actor String,
    loaded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Plain}
ORDER BY (plan, version, loaded_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Catalogs that were loaded: the content hash that rated rows name, and how much was in it.
-- Append-only, in order of time; a row is written last, so its versions stand in plan_versions.
CREATE TABLE IF NOT EXISTS {database}.catalog_loads
(
    catalog_hash String,
    meters UInt32,
    plans UInt32,
    plan_versions UInt32,
    subscriptions UInt64,
    actor String,
    loaded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Plain}
ORDER BY (loaded_at, catalog_hash)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What a person did to money, or to what had counted already: who, why, when, before and after as
-- canonical JSON. Append-only and chained: hash is SHA-256 of previous_hash and the row, so that
-- none can be changed, removed or put in without the rest telling. Redis keeps the newest seq and
-- hash, and decides who comes next. ORDER BY the place in the chain.
CREATE TABLE IF NOT EXISTS {database}.audit_log
(
    seq UInt64,
    recorded_at DateTime64(6, 'UTC'),
    actor String,
    action LowCardinality(String),
    object String,
    reason_code LowCardinality(String),
    note String,
    before String,
    after String,
    previous_hash String,
    hash String
)
ENGINE = {engine:Plain}
ORDER BY (seq, hash)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
