-- Puts aside what cannot be handed out, for a person to look at. Damage comes by hand or from other programs.
local MAX_QUARANTINE = 1000
local MAX_JOB = 34603008 -- bytes: the largest max_body there is, and a MiB; what is larger fits into no frame to a child

-- Returns when it was accepted, the flags and the expiry of a stored job; nil if id or header are damaged.
-- A newer header has neither flags nor expiry here: it is judged by those who can read it.
local function header_of(id, data)
  if not data or #data > MAX_JOB or not string.find(id, '^%w[%w._-]*$') then return nil end
  local enqueued, flags, expires = string.match(data, '^(%d+);1;(%a*);[^;\n]*;(%d*);[^\n]*\n')
  if not enqueued then enqueued, flags, expires = newer(data) and string.match(data, '^%d+'), '', '' end
  if not enqueued or #enqueued > 16 or #expires > 16 then return nil end -- no clock shows as many digits
  return enqueued, flags, expires
end

local function quarantine(id, now)
  redis.call('ZADD', key_quarantine, now, id)
  count_up(key_meta, 'quarantined', 1)
  observe('quarantined', id)
  if redis.call('ZCARD', key_quarantine) <= MAX_QUARANTINE then return end
  local old = redis.call('ZRANGE', key_quarantine, 0, 0)[1]
  -- A job in order came back under this id: it lives elsewhere.
  if not header_of(old, redis.call('HGET', key_jobs, old)) or not read_state(redis.call('HGET', key_state, old)) then
    redis.call('HDEL', key_jobs, old)
    redis.call('HDEL', key_state, old)
  end
  redis.call('ZREM', key_quarantine, old)
end
