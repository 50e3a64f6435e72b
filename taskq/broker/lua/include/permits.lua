-- Permits of a lock or semaphore: who holds one, until when, and who is next.
-- permits: hash of limit, extra (released more often than taken), turn, fence, by, since (when a grace began that
-- nobody's lease outlived, see guard); holders: zset of deadlines;
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

-- The time before which a lease must have ended to be over, nil where none is. Who looks more seldom than three beats
-- begins a grace at each look; a holder without a lease at the start of one had a whole lease to renew it, and is dead.
local function overdue(now, grace, jump, lease)
  if now >= grace then return now end
  if not jump then return nil end
  local since = whole(redis.call('HGET', key_permits, 'since'))
  if jump == 'gap' and since and now < since + lease then return nil end
  redis.call('HSET', key_permits, 'since', digits(now))
  return jump == 'gap' and since or nil
end

-- Takes permits back from holders whose lease is over. One that was added stands for one that its holder will not give
-- back, such as a signal that was consumed: it does not come free a second time.
local function lapse(now, grace, jump, lease)
  local before = overdue(now, grace, jump, lease)
  if not before then return end
  local gone = redis.call('ZRANGEBYSCORE', key_holders, '-inf', '(' .. digits(before), 'LIMIT', 0, 100)
  for _, address in ipairs(gone) do take_back(address) end
  local extra = #gone > 0 and whole(redis.call('HGET', key_permits, 'extra')) or 0
  if extra > 0 then redis.call('HINCRBY', key_permits, 'extra', -math.min(extra, #gone)) end
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
