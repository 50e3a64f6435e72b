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
local left = redis.call('ZREM', arg_line == 'g' and key_getters or key_putters, arg_address)
if left == 0 and arg_line == 'g' and redis.call('EXISTS', key_items) == 1 then call_up(key_getters, 1) end
if left == 0 and arg_line == 'p' then offer_room(whole(redis.call('HGET', key_meta, 'maxsize')) or 0, 1) end
return {digits(left)}
