-- ended: reads some of the jobs that ended inside a script and wait for their result.
-- Flags: no-writes
-- Moves: none
-- KEYS: jobs state ended
-- ARGV: only
--   only: an id, or '' for up to 50 of them
-- Returns: {now, then id reason state data per job}
-- include clock
-- include text
local reply = {digits(read_clock())}
local found
if arg_only ~= '' then
  found = {arg_only, redis.call('HGET', key_ended, arg_only) or nil}
else
  found = redis.call('HSCAN', key_ended, '0', 'COUNT', 50)[2]
end
for i = 1, math.min(#found, 100), 2 do
  if found[i + 1] then
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
    reply[#reply + 1] = redis.call('HGET', key_state, found[i]) or ''
    reply[#reply + 1] = redis.call('HGET', key_jobs, found[i]) or ''
  end
end
return reply
