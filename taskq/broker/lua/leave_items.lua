-- leave_items: leaves the lines of a data queue; one that had been called up passes that on.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta items tally getters putters joiners
-- ARGV: channels address line
--   line: 'g' of getters, 'p' of putters, 'j' of joiners
-- Returns: {'1'} if it still waited, else {'0'}; no session, as it may run twice
-- include text
-- include line
-- include items
if arg_line == 'j' then return {digits(redis.call('SREM', key_joiners, arg_address))} end
if arg_line ~= 'g' and arg_line ~= 'p' then return redis.error_reply('TASKQ_ARGS leave_items knows no line ' .. arg_line) end
local place = arg_line == 'g' and key_getters or key_putters
local rank = redis.call('ZRANK', place, arg_address)
if rank then
  redis.call('ZREM', place, arg_address)
  if rank < AHEAD then promote(place, 1) end
elseif arg_line == 'p' then
  offer_room(whole(redis.call('HGET', key_meta, 'maxsize')) or 0, 1)
elseif redis.call('EXISTS', key_items) == 1 then
  summon(key_getters, 1)
end
return {rank and '1' or '0'}
