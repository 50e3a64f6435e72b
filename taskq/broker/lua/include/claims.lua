-- Claims of items: under a lease, and back at their place when it runs out.
local function put_back(id)
  local place, member = string.match(redis.call('HGET', key_claimed, id) or '', '^([^;]*);(.*)$')
  redis.call('HDEL', key_claimed, id)
  redis.call('ZREM', key_claims, id)
  if not place then return 0 end
  redis.call('ZADD', key_items, place, member)
  return 1
end

-- Puts back what was claimed by who is gone; returns the time, and the microseconds until the next claim may run out.
local function put_back_lapsed(lease)
  if redis.call('EXISTS', key_claims) == 0 then return read_clock(), nil end
  local now, grace = guarded_clock(lease, lease / BEATS, key_claims, key_tally)
  if now >= grace then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key_claims, '-inf', '(' .. digits(now), 'LIMIT', 0, 100)) do put_back(id) end
  end
  local first = tonumber(redis.call('ZRANGE', key_claims, 0, 0, 'WITHSCORES')[2])
  return now, first and math.max(1000, math.min(lease / BEATS, math.max(first, grace) - now)) or nil
end
