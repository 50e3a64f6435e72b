-- join_condition: stands in line for a notification; the caller holds the condition's lock.
-- Flags: none
-- Moves: none
-- KEYS: session condition waiting seen
-- ARGV: seq first channels address lock stale_us ttl_ms who
--   lock: its kind and name; stale_us: who did not look for so long is taken for dead
-- Returns: {'W', ''} in line; {'X', lock, by} the condition is in use with another lock
-- include clock
-- include text
-- include session
-- include line
local reply, failure = recall()
if failure then return failure end
if reply then return {'W', ''} end
local stale = whole(arg_stale_us)
if arg_address == '' or not stale or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS join_condition was given address ' .. arg_address .. ', stale ' .. arg_stale_us)
end
local known = redis.call('HMGET', key_condition, 'lock', 'by')
if known[1] and known[1] ~= arg_lock then return {'X', known[1], known[2] or ''} end
if not known[1] then redis.call('HSET', key_condition, 'lock', arg_lock, 'by', arg_who) end
local now = read_clock()
local turn = redis.call('HINCRBY', key_condition, 'turn', 1)
redis.call('ZADD', key_waiting, digits(turn), arg_address)
redis.call('ZADD', key_seen, digits(now), arg_address)
-- Or those that die while nobody notifies would gather here. One that lives after all is told, and returns.
for _, address in ipairs(redis.call('ZRANGEBYSCORE', key_seen, '-inf', digits(now - stale), 'LIMIT', 0, 100)) do
  redis.call('ZREM', key_waiting, address)
  redis.call('ZREM', key_seen, address)
  tell(address, 'N')
end
for _, key in ipairs({key_condition, key_waiting, key_seen}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
remember('W')
return {'W', ''}
