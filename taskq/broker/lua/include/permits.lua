-- Permits of a lock or semaphore: who holds one, until when, and who is next.
-- permits: hash of limit, extra (released more often than taken), turn, fence, by; holders: zset of deadlines;
-- fences: hash, holder to number; line: zset, waiter's address to turn.
local function free_permits()
  local known = redis.call('HMGET', key_permits, 'limit', 'extra')
  return (whole(known[1]) or 0) + (whole(known[2]) or 0) - redis.call('ZCARD', key_holders)
end

local function give(address, deadline)
  local fence = digits(redis.call('HINCRBY', key_permits, 'fence', 1))
  redis.call('ZADD', key_holders, digits(deadline), address)
  redis.call('HSET', key_fences, address, fence)
  return fence
end

local function take_back(address)
  redis.call('HDEL', key_fences, address)
  return redis.call('ZREM', key_holders, address) == 1
end

-- Takes permits back from holders whose lease is over.
local function lapse(now, grace)
  if now < grace then return end
  for _, address in ipairs(redis.call('ZRANGEBYSCORE', key_holders, '-inf', '(' .. digits(now), 'LIMIT', 0, 100)) do
    take_back(address)
  end
end

-- Gives free permits to who waits, first come first served; a waiter that nobody hears for loses its turn.
local function hand_over(deadline)
  local free = free_permits()
  while free > 0 do
    local address = redis.call('ZRANGE', key_line, 0, 0)[1]
    if not address then return end
    redis.call('ZREM', key_line, address)
    if tell(address, give(address, deadline)) then free = free - 1 else take_back(address) end
  end
end
