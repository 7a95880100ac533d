-- Raises the generation of one partition on one shard; never lowers it.
-- KEYS[1] shard state; ARGV marker, assignment field, generation (0: take the next)
-- Returns 'M' for a wrong marker, else the generation in force.
if redis.call('HGET', KEYS[1], 'marker') ~= ARGV[1] then return 'M' end
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[2])) or 0
local wanted = tonumber(ARGV[3])
if wanted == 0 then wanted = held + 1 end
if wanted > held then
  redis.call('HSET', KEYS[1], ARGV[2], wanted)
  held = wanted
end
return tostring(held)
