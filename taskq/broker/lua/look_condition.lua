-- look_condition: tells a waiter whether it is still in line; one that is not was notified.
-- Flags: allow-oom
-- Moves: none
-- KEYS: condition waiting seen
-- ARGV: address ttl_ms
-- Returns: {'1'} in line, {'0'} not; no session, as it may run twice
-- include clock
-- include text
if not whole(arg_ttl_ms) then return redis.error_reply('TASKQ_ARGS look_condition takes a ttl, not ' .. arg_ttl_ms) end
if not redis.call('ZSCORE', key_waiting, arg_address) then return {'0'} end
redis.call('ZADD', key_seen, digits(read_clock()), arg_address)
for _, key in ipairs({key_condition, key_waiting, key_seen}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
return {'1'}
