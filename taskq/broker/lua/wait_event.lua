-- wait_event: looks at an Event's flag and, where it is clear, has the caller told when it is set.
-- Flags: none
-- Moves: none
-- KEYS: event waiters
-- ARGV: address stale_us ttl_ms
--   stale_us: who did not look for so long is taken for dead
-- Returns: {flag, sets}; no session, as it may run twice
-- include clock
-- include text
local stale = whole(arg_stale_us)
if arg_address == '' or not stale or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS wait_event was given address ' .. arg_address .. ' and ttl ' .. arg_ttl_ms)
end
local known = redis.call('HMGET', key_event, 'flag', 'sets')
if known[1] == '1' then return {'1', known[2] or '0'} end
local now = read_clock()
redis.call('ZADD', key_waiters, digits(now), arg_address)
-- Or those that die while nobody sets it would gather here. One that lives after all sees by `sets` what it was not told.
redis.call('ZREMRANGEBYSCORE', key_waiters, '-inf', digits(now - stale))
redis.call('PEXPIRE', key_waiters, arg_ttl_ms)
redis.call('PEXPIRE', key_event, arg_ttl_ms)
return {'0', known[2] or '0'}
