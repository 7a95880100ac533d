-- Tells which identities one shard remembers as held by the very coordinate that asks; writes nothing.
-- KEYS[1] shard state; ARGV marker, packed claims (24 bytes each)
-- Returns 'M' for a wrong marker, else 'K' + a byte for each: 1 if it is its own, or else 0.
local state = redis.call('HMGET', KEYS[1], 'marker', 'newest', 'since')
if state[1] ~= ARGV[1] then return 'M' end
local newest, claims = tonumber(state[2]) or 0, ARGV[2]
local oldest = (tonumber(state[3]) or newest) < newest and newest - 1 or newest
local sub, answers = string.sub, {}
for at = 1, #claims, 24 do
  local owner = false
  for window = oldest, newest do
    local bucket = KEYS[1] .. ':' .. window .. ':' .. sub(claims, at, at + 3)
    owner = owner or redis.call('HGET', bucket, sub(claims, at + 4, at + 11))
  end
  local is_own = owner and sub(owner, 1, 9) == sub(claims, at + 12, at + 20)
  answers[#answers + 1] = is_own and '\1' or '\0'
end
return 'K' .. table.concat(answers)
