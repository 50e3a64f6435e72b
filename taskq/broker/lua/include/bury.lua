-- Keeps a failed job in the dead set, which drops its oldest beyond a cap.
local MAX_DEAD = 10000
local DEAD_US = 30 * 86400 * 1000000 -- 30 days

local function bury(id, now)
  redis.call('ZADD', key_dead, now, id)
  observe('dead', id)
  local over = redis.call('ZRANGEBYSCORE', key_dead, '-inf', now - DEAD_US, 'LIMIT', 0, 10)
  local surplus = redis.call('ZCARD', key_dead) - MAX_DEAD
  if #over == 0 and surplus > 0 then over = redis.call('ZRANGE', key_dead, 0, math.min(surplus, 10) - 1) end
  for _, old in ipairs(over) do
    redis.call('HDEL', key_jobs, old)
    redis.call('HDEL', key_state, old)
    redis.call('ZREM', key_dead, old)
  end
end
