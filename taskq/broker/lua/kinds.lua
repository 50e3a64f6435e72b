-- kinds: reads of which type some keys are and how long they live.
-- Flags: no-writes
-- Moves: none
-- KEYS: then any keys of one queue
-- ARGV: then nothing
-- Returns: {type, milliseconds per key}; -1 for ever, -2 if it is gone
local reply = {}
for i = 1, #KEYS do
  reply[#reply + 1] = redis.call('TYPE', KEYS[i]).ok
  reply[#reply + 1] = redis.call('PTTL', KEYS[i])
end
return reply
