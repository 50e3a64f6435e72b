-- wait_event: looks at an Event's flag and, where it is clear, has the caller told when it is set.
-- Flags: none
-- Moves: none
-- KEYS: event waiters
-- ARGV: address ttl_ms
-- Returns: {flag, sets}; no session, as it may run twice
-- include text
if arg_address == '' or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS wait_event was given address ' .. arg_address .. ' and ttl ' .. arg_ttl_ms)
end
local known = redis.call('HMGET', key_event, 'flag', 'sets')
if known[1] == '1' then return {'1', known[2] or '0'} end
redis.call('SADD', key_waiters, arg_address)
redis.call('PEXPIRE', key_waiters, arg_ttl_ms)
redis.call('PEXPIRE', key_event, arg_ttl_ms)
return {'0', known[2] or '0'}
