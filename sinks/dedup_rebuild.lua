-- The steps of a rebuild that change a shard's state, each refused to anybody but the rebuilder
-- that started last: one that was paused cannot touch a memory that is in force again.
-- KEYS[1] shard state, KEYS[2..] buckets; ARGV step, token, then what the step takes
local step, token = ARGV[1], ARGV[2]
if step == 'start' then -- from here on all claims are refused
  redis.call('HSET', KEYS[1], 'rebuild', token)
  redis.call('HDEL', KEYS[1], 'marker')
  return 'K'
end
if redis.call('HGET', KEYS[1], 'rebuild') ~= token then return 'M' end
if step == 'clear' then
  for at = 2, #KEYS do redis.call('UNLINK', KEYS[at]) end
elseif step == 'lay out' then -- newest window, first window
  redis.call('DEL', KEYS[1] .. ':entries')
  redis.call('HSET', KEYS[1], 'newest', ARGV[3], 'since', ARGV[4])
elseif step == 'finish' then -- pairs of fields, the marker among them
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
  redis.call('HDEL', KEYS[1], 'rebuild')
end
return 'K'
