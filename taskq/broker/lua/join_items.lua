-- join_items: looks whether all items are finished and, where not, has the caller told when they are.
-- Flags: none
-- Moves: none
-- KEYS: tally joiners
-- ARGV: address ttl_ms
-- Returns: {unfinished}; no session, as it may run twice
-- include text
if arg_address == '' or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS join_items was given address ' .. arg_address .. ' and ttl ' .. arg_ttl_ms)
end
local unfinished = whole(redis.call('HGET', key_tally, 'unfinished')) or 0
if unfinished > 0 then
  redis.call('SADD', key_joiners, arg_address)
  redis.call('PEXPIRE', key_joiners, arg_ttl_ms)
end
return {digits(unfinished)}
