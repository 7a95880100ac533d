-- Claims identities on one shard, atomically. One packed string in, one out.
-- KEYS[1]  hash with the shard's state; buckets are named after it and share its hash tag
-- ARGV     marker, assignment field, generation, window number, packed claims (24 bytes each)
--          The window is the newest one the asker knows; what it believes to be remembered, and
--          did not look up elsewhere, hangs on it.
-- Returns  'M' wrong marker | 'G' stale generation | 'W' + a newer window than the asker's
--          | 'K' + one status byte a claim + 12 bytes for each owner that is somebody else
local state = redis.call('HMGET', KEYS[1], 'marker', 'newest', ARGV[2])
if state[1] ~= ARGV[1] then return 'M' end
if state[3] ~= ARGV[3] then return 'G' end
local newest = tonumber(state[2]) or 0
local window = tonumber(ARGV[4])
if newest > window then return 'W' .. newest end
if window > newest then
  redis.call('HSET', KEYS[1], 'newest', window)
  if newest == 0 then redis.call('HSET', KEYS[1], 'since', window) end
  newest = window
end
local since = tonumber(redis.call('HGET', KEYS[1], 'since')) or newest
local current = KEYS[1] .. ':' .. newest .. ':'
local previous = since < newest and (KEYS[1] .. ':' .. (newest - 1) .. ':') or false
local claims = ARGV[5]
local call, sub = redis.call, string.sub
local statuses, owners, claimed, other, count = {}, {}, 0, 0, 0
for at = 1, #claims, 24 do
  local bucket = sub(claims, at, at + 3)
  local field = sub(claims, at + 4, at + 11)
  local value = sub(claims, at + 12, at + 23)
  local owner = previous and call('HGET', previous .. bucket, field)
  if owner and sub(owner, 1, 9) == sub(value, 1, 9) then
    -- A replay is in flight again: the next generation must not forget it.
    claimed = claimed + call('HSETNX', current .. bucket, field, value)
  elseif not owner then
    local key = current .. bucket
    if call('HSETNX', key, field, value) == 1 then
      claimed = claimed + 1
    else
      owner = call('HGET', key, field)
    end
  end
  count = count + 1
  if not owner then
    statuses[count] = '\0'
  elseif sub(owner, 1, 9) == sub(value, 1, 9) then
    statuses[count] = '\1'
  else
    statuses[count] = sub(owner, 10, 12) == sub(value, 10, 12) and '\2' or '\3'
    other = other + 1
    owners[other] = owner
  end
end
if claimed > 0 then call('HINCRBY', KEYS[1] .. ':entries', newest, claimed) end
return 'K' .. table.concat(statuses) .. table.concat(owners)
