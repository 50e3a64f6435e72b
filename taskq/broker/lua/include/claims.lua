-- Claims of items: under a lease, and back at their place when it runs out. Each claim has a number of its own, so that
-- who lost an item does not end the claim of who has it now. In tally, while there are claims: lease, the longest;
-- beat, a fifth of the shortest; since, when the last grace began, see guard.

local function add_claim(place, member, now, lease)
  local known = redis.call('HMGET', key_tally, 'lease', 'beat')
  local longest, beat = whole(known[1]) or 0, whole(known[2])
  if longest == 0 then redis.call('HSET', key_tally, 'tick', digits(now), 'grace', '0') end
  if lease > longest then redis.call('HSET', key_tally, 'lease', digits(lease)) end
  if not beat or lease / BEATS < beat then
    redis.call('HSET', key_tally, 'beat', digits(lease / BEATS))
    if lease / BEATS < SOON_US then promote(key_getters, AHEAD) end
  end
  local name = digits(redis.call('HINCRBY', key_tally, 'claim', 1))
  redis.call('HSET', key_claimed, name, place .. ';' .. member)
  redis.call('ZADD', key_claims, digits(now + lease), name)
  return name
end

local function drop_claim(name)
  redis.call('HDEL', key_claimed, name)
  redis.call('ZREM', key_claims, name)
  if redis.call('EXISTS', key_claims) == 0 then redis.call('HDEL', key_tally, 'lease', 'beat', 'since') end
end

-- Puts a claimed item back, or drops it; returns how many were put back.
local function put_back(name)
  local place, member = string.match(redis.call('HGET', key_claimed, name) or '', '^([^;]*);(.*)$')
  local back = place and not drop_back(1)
  if back then redis.call('ZADD', key_items, place, member) end
  drop_claim(name)
  return back and 1 or 0
end

-- The guarded time, and the time before which a lease must have ended to be over, nil where none is. Who looks more
-- seldom than three beats begins a grace at each look; who had no lease at the start of one had a whole lease to renew it.
local function claims_clock(lease)
  local known = redis.call('HMGET', key_tally, 'lease', 'beat', 'since')
  lease = whole(known[1]) or lease
  local now, grace, jump = guarded_clock(lease, whole(known[2]) or lease / BEATS, key_claims, key_tally)
  local since = whole(known[3])
  if now >= grace then return now, now, now end
  if not jump or (jump == 'gap' and since and now < since + lease) then return now, nil, grace end
  redis.call('HSET', key_tally, 'since', digits(now))
  return now, jump == 'gap' and since or nil, grace
end

-- Puts back what was claimed by who is gone; returns the time, and the microseconds until the next claim may run out.
local function put_back_lapsed(lease)
  if redis.call('EXISTS', key_claims) == 0 then return read_clock() end
  local now, before, grace = claims_clock(lease)
  if before then
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', key_claims, '-inf', '(' .. digits(before), 'LIMIT', 0, 100)) do put_back(name) end
  end
  local first = tonumber(redis.call('ZRANGE', key_claims, 0, 0, 'WITHSCORES')[2])
  return now, first and math.max(1000, math.max(first, grace) - now) or nil
end
