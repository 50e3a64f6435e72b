-- set_event: sets an Event's flag and tells every process with a waiter.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session event waiters
-- ARGV: seq first channels ttl_ms
-- Returns: {sets}: how often the flag went from clear to set
-- include text
-- include session
-- include line
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
if not whole(arg_ttl_ms) then return redis.error_reply('TASKQ_ARGS set_event takes a ttl, not ' .. arg_ttl_ms) end
local known = redis.call('HMGET', key_event, 'flag', 'sets')
local sets = whole(known[2]) or 0
if known[1] ~= '1' then
  sets = sets + 1
  redis.call('HSET', key_event, 'flag', '1', 'sets', digits(sets))
  for _, address in ipairs(redis.call('ZRANGE', key_waiters, 0, -1)) do tell(address, digits(sets)) end
  redis.call('DEL', key_waiters)
end
redis.call('PEXPIRE', key_event, arg_ttl_ms)
reply = digits(sets)
remember(reply)
return {reply}
