-- Puts one row at the end of the audit log, if the log still ends where the writer thinks.
-- KEYS[1] hash of the log's head: seq, hash, and the row itself, until it stands in ClickHouse
-- ARGV    hash that the log ends with ('' where Redis knows of none), new seq, new hash, new row
-- Returns 1 when the row is the newest now, 0 when somebody else was first.
if (redis.call('HGET', KEYS[1], 'hash') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'hash', ARGV[3], 'row', ARGV[4])
return 1
