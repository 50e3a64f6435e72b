-- count_permits: tells how many permits are free and how many wait; a holder whose lease is over counts as none.
-- Flags: no-writes
-- Moves: none
-- KEYS: permits holders line
-- ARGV: limit
-- Returns: {free, held, waiting}
-- include clock
-- include text
local known = redis.call('HMGET', key_permits, 'limit', 'extra', 'grace')
local now = read_clock()
local held, extra = redis.call('ZCARD', key_holders), whole(known[2]) or 0
if now >= (whole(known[3]) or 0) then
  local all = held
  held = redis.call('ZCOUNT', key_holders, digits(now), '+inf')
  extra = math.max(0, extra - (all - held)) -- as those whose lease is over will take theirs along
end
local free = (whole(known[1]) or whole(arg_limit) or 0) + extra - held
return {digits(math.max(0, free)), digits(held), redis.call('ZCARD', key_line)}
