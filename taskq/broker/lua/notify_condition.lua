-- notify_condition: wakes the first in line; the caller holds the condition's lock.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session condition waiting seen
-- ARGV: seq first channels count lock stale_us
--   count: how many to wake at most; stale_us: who did not look for so long is taken for dead
-- Returns: {'W', how many were woken}; {'X', lock, by} the condition is in use with another lock
-- include clock
-- include text
-- include session
-- include line
local reply, failure = recall()
if failure then return failure end
if reply then return {'W', reply} end
local count, stale = whole(arg_count), whole(arg_stale_us)
if not count or not stale then
  return redis.error_reply('TASKQ_ARGS notify_condition was given count ' .. arg_count .. ', stale ' .. arg_stale_us)
end
local known = redis.call('HMGET', key_condition, 'lock', 'by')
if known[1] and known[1] ~= arg_lock then return {'X', known[1], known[2] or ''} end
local now, woken = read_clock(), 0
while woken < count do
  local address = redis.call('ZRANGE', key_waiting, 0, 0)[1]
  if not address then break end
  local seen = tonumber(redis.call('ZSCORE', key_seen, address)) or 0
  redis.call('ZREM', key_waiting, address)
  redis.call('ZREM', key_seen, address)
  -- Who is not heard of is told as well, but does not count: a wake-up too many is harmless, one too few is not.
  if tell(address, 'N') and seen > now - stale then woken = woken + 1 end
end
remember(digits(woken))
return {'W', digits(woken)}
