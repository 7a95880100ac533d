-- Says whose identities are, whoever held them; for distinct values, after a correction.
-- KEYS[1] shard state; ARGV marker, '1' to hold them or '0' to let them go, packed claims (24 bytes)
-- Returns 'M' for a wrong marker, else 'K' + a byte for each.
local state = redis.call('HMGET', KEYS[1], 'marker', 'newest')
if state[1] ~= ARGV[1] then return 'M' end
local newest, claims = tonumber(state[2]) or 0, ARGV[3]
local sub, call, added = string.sub, redis.call, 0
for at = 1, #claims, 24 do
  local bucket, field = sub(claims, at, at + 3), sub(claims, at + 4, at + 11)
  call('HDEL', KEYS[1] .. ':' .. (newest - 1) .. ':' .. bucket, field)
  local key = KEYS[1] .. ':' .. newest .. ':' .. bucket
  if ARGV[2] == '1' then
    added = added + call('HSET', key, field, sub(claims, at + 12, at + 23))
  else
    added = added - call('HDEL', key, field)
  end
end
if added ~= 0 then call('HINCRBY', KEYS[1] .. ':entries', newest, added) end
return 'K' .. string.rep('\0', #claims / 24)
