-- leave_condition: leaves the line for a notification, unless one came meanwhile.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session waiting seen
-- ARGV: seq first address
-- Returns: {'1'} it was in line, {'0'} it was notified
-- include text
-- include session
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
reply = digits(redis.call('ZREM', key_waiting, arg_address))
redis.call('ZREM', key_seen, arg_address)
remember(reply)
return {reply}
