-- Permits of a lock or semaphore: who holds one, until when, and who is next.
-- permits: hash of limit, extra (released more often than taken), turn, fence (the last), by, lease and since (see lease);
-- holders: zset of deadlines; fences: hash, holder to number; line: zset, waiter's address to turn.
local function free_permits()
  local known = redis.call('HMGET', key_permits, 'limit', 'extra')
  return (whole(known[1]) or 0) + (whole(known[2]) or 0) - redis.call('ZCARD', key_holders)
end

-- A fence is no less than the time: it ascends also where the server has lost the last ones.
local function give(address, now, lease)
  local last = whole(redis.call('HGET', key_permits, 'fence')) or 0
  local fence = digits(math.max(last + 1, now))
  redis.call('HSET', key_permits, 'fence', fence)
  redis.call('ZADD', key_holders, digits(now + lease), address)
  redis.call('HSET', key_fences, address, fence)
  return fence
end

local function take_back(address)
  redis.call('HDEL', key_fences, address)
  return redis.call('ZREM', key_holders, address) == 1
end

-- Takes permits back from holders that are gone; answers from how many with one that was added. Such a one stands for
-- one that its holder will not give back, such as a signal that was consumed: it does not come free a second time.
local function settle_up(addresses)
  for _, address in ipairs(addresses) do take_back(address) end
  local extra = #addresses > 0 and whole(redis.call('HGET', key_permits, 'extra')) or 0
  local pairs_gone = math.min(extra, #addresses)
  if pairs_gone > 0 then redis.call('HINCRBY', key_permits, 'extra', -pairs_gone) end
  return pairs_gone
end

-- Takes permits back from holders whose lease is over.
local function lapse(now, grace, jump, lease)
  local before = overdue(now, grace, jump, lease, key_permits)
  if not before then return end
  settle_up(redis.call('ZRANGEBYSCORE', key_holders, '-inf', '(' .. digits(before), 'LIMIT', 0, 100))
end

-- Gives free permits to who waits, first come first served; a waiter that nobody hears for loses its turn. Whoever gets
-- one has the longest lease of all until its first renewal, which sets its own.
local function hand_over(now, lease)
  local free = free_permits()
  while free > 0 do
    local address = redis.call('ZRANGE', key_line, 0, 0)[1]
    if not address then return end
    redis.call('ZREM', key_line, address)
    if tell(address, give(address, now, lease)) then free = free - 1 else take_back(address) end
  end
end
