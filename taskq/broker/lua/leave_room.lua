-- leave_room: leaves the line for room; one that had been called up passes that on.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta ready delayed putters
-- ARGV: channels address
-- Returns: {'1'} if it still waited, else {'0'}; no session, as it may run twice
-- include text
-- include line
-- include room
local left = redis.call('ZREM', key_putters, arg_address)
if left == 0 then open_room(redis.call('HGET', key_meta, 'maxsize')) end
return {digits(left)}
