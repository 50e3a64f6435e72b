-- open_barrier: releases a generation whose action was run, or breaks the barrier where it failed.
-- Flags: allow-oom
-- Moves: none
-- KEYS: barrier arrived deadlines failed
-- ARGV: channels address born ticket done ttl_ms
--   address, born, ticket: of the party that acted; done: '1' or '0'
-- Returns: {'R'} released, {'B'} broken; no session, as it may run twice
-- include text
-- include line
-- include barrier
local ticket = whole(arg_ticket)
if not ticket or not whole(arg_ttl_ms) or (arg_done ~= '1' and arg_done ~= '0') then
  return redis.error_reply('TASKQ_ARGS open_barrier was given ticket ' .. arg_ticket .. ' and done ' .. arg_done)
end
local known = redis.call('HMGET', key_barrier, 'parties', 'born', 'actor')
local parties = whole(known[1])
if not parties or known[2] ~= arg_born then return {'B'} end -- the server has lost what it knew
local letter = verdict(arg_address, ticket, parties)
if not letter then
  local generation = math.floor(ticket / parties)
  letter = (arg_done == '1' and known[3] == arg_address) and 'R' or 'B'
  redis.call('ZREM', key_arrived, arg_address)
  redis.call('ZREM', key_deadlines, arg_address)
  if letter == 'R' then open(generation, parties) else break_from(generation, parties) end
end
for _, key in ipairs({key_barrier, key_arrived, key_deadlines, key_failed}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
return {letter}
