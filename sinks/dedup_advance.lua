-- Moves one shard on to a newer generation, before anybody relies on what is then still remembered.
-- KEYS[1] shard state; ARGV marker, window number
-- Returns 'M' for a wrong marker, else the newest window number.
local state = redis.call('HMGET', KEYS[1], 'marker', 'newest')
if state[1] ~= ARGV[1] then return 'M' end
local newest, window = tonumber(state[2]) or 0, tonumber(ARGV[2])
if window > newest then
  redis.call('HSET', KEYS[1], 'newest', window)
  if newest == 0 then redis.call('HSET', KEYS[1], 'since', window) end
  newest = window
end
return tostring(newest)
