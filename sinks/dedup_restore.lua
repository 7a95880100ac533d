-- Writes claims whose owners are known (from raw history) into one generation of one shard.
-- Only while the memory is being rebuilt: the shard has no marker then.
-- KEYS[1] shard state; ARGV rebuild token, window number, packed claims (24 bytes each)
if redis.call('HGET', KEYS[1], 'rebuild') ~= ARGV[1] then return 'M' end
local bucket_prefix = KEYS[1] .. ':' .. ARGV[2] .. ':'
local sub, call, added = string.sub, redis.call, 0
for at = 1, #ARGV[3], 24 do
  added = added + call('HSET', bucket_prefix .. sub(ARGV[3], at, at + 3),
    sub(ARGV[3], at + 4, at + 11), sub(ARGV[3], at + 12, at + 23))
end
if added > 0 then redis.call('HINCRBY', KEYS[1] .. ':entries', ARGV[2], added) end
return 'K'
