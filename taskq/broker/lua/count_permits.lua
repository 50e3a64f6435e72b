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
local held = redis.call('ZCARD', key_holders)
if now >= (whole(known[3]) or 0) then held = redis.call('ZCOUNT', key_holders, digits(now), '+inf') end
local free = (whole(known[1]) or whole(arg_limit) or 0) + (whole(known[2]) or 0) - held
return {digits(math.max(0, free)), digits(held), redis.call('ZCARD', key_line)}
