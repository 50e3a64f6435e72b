-- clear_event: clears an Event's flag; who was waiting when it was set has been told.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session event
-- ARGV: seq first
-- Returns: {'1'} if it was set, else {'0'}
-- include text
-- include session
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
reply = redis.call('HGET', key_event, 'flag') == '1' and '1' or '0'
if reply == '1' then redis.call('HSET', key_event, 'flag', '0') end
remember(reply)
return {reply}
