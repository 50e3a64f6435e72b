-- leave_barrier: gives up a wait, which breaks the barrier unless all parties have arrived.
-- Flags: allow-oom
-- Moves: none
-- KEYS: barrier arrived deadlines failed
-- ARGV: channels address born ticket stays idle ttl_ms
--   born, ticket: '' where the caller does not know whether it has arrived; stays '1': it goes on waiting after 'W';
--   idle '1': it has not begun the action, should it be the one to run it, so that another may
-- Returns: {'R'} it was released before; {'W'} all have arrived; {'B'} broken; no session, as it may run twice
-- include text
-- include line
-- include barrier
local ticket = whole(arg_ticket)
if not whole(arg_ttl_ms) or (arg_ticket ~= '' and not ticket) then
  return redis.error_reply('TASKQ_ARGS leave_barrier was given ticket ' .. arg_ticket .. ' and ttl ' .. arg_ttl_ms)
end
local known = redis.call('HMGET', key_barrier, 'parties', 'born', 'actor')
local parties = whole(known[1])
if not parties or (ticket and known[2] ~= arg_born) then return {'B'} end
ticket = ticket or tonumber(redis.call('ZSCORE', key_arrived, arg_address))
if not ticket then return {'B'} end
local generation = math.floor(ticket / parties)
-- Run twice: it left when all had arrived, and must not break the barrier for those that are still there.
if is_full(generation, parties) and generation >= present(parties) and not redis.call('ZSCORE', key_arrived, arg_address)
  and not redis.call('ZSCORE', key_failed, digits(generation)) then return {'W'} end
local letter = verdict(arg_address, ticket, parties)
if not letter then
  letter = is_full(generation, parties) and (known[3] ~= arg_address or arg_idle == '1') and 'W' or 'B'
  if letter == 'B' or arg_stays ~= '1' then
    redis.call('ZREM', key_arrived, arg_address)
    redis.call('ZREM', key_deadlines, arg_address)
  end
  if letter == 'B' then
    break_from(generation, parties)
  elseif arg_stays ~= '1' then -- it may be the one that was to act or to look
    if known[3] == arg_address then redis.call('HDEL', key_barrier, 'actor') end
    if redis.call('HEXISTS', key_barrier, 'actor') == 0 then nudge(present(parties), parties) end
  end
end
for _, key in ipairs({key_barrier, key_arrived, key_deadlines, key_failed}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
return {letter}
