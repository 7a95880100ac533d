-- Raw rows are merged rarely and widely: a part waits for others of its size until they are fifty
-- together, or the month has that many parts. Merging is half of what the server does while a
-- backlog is read, and each pass over a row costs as much as its insert did
-- (docs/decisions/0021-raw-rows-are-merged-rarely.md). What is set again, as it is, leaves something
-- to do for a server that does not know the other setting.
ALTER TABLE {database}.usage_events MODIFY SETTING
    fsync_after_insert = 1 {known:merge_selector_base = 50};
