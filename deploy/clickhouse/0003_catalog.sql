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

-- What a person did to what had counted already: who, why, when, and both contents. Append-only,
-- by what it is about: an action (price_version_edited) on an object (growth/1).
CREATE TABLE IF NOT EXISTS {database}.audit_log
(
    action LowCardinality(String),
    object String,
    actor String,
    reason String,
    before String,
    after String,
    recorded_at DateTime64(6, 'UTC')
)
ENGINE = {engine:Plain}
ORDER BY (action, object, recorded_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
