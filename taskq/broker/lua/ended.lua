-- ended: reads some of the jobs that ended inside a script and wait for their result.
-- Flags: no-writes
-- Moves: none
-- KEYS: jobs state ended
-- ARGV: only
--   only: an id, or '' for up to 50 of them
-- Returns: {now, then id reason state data per job}
-- include clock
-- include text
local ENOUGH = 1000000 -- bytes of jobs after which no more are read
local reply = {digits(read_clock())}
local found
if arg_only ~= '' then
  local reason = redis.call('HGET', key_ended, arg_only)
  found = reason and {arg_only, reason} or {}
else
  -- Not HSCAN: it finds nothing in the first buckets of a hash that was emptied from there.
  found = redis.call('HRANDFIELD', key_ended, 50, 'WITHVALUES')
end
local copied = 0
for i = 1, #found, 2 do
  if copied > ENOUGH then break end
  reply[#reply + 1] = found[i]
  reply[#reply + 1] = found[i + 1]
  reply[#reply + 1] = redis.call('HGET', key_state, found[i]) or ''
  local data = redis.call('HGET', key_jobs, found[i]) or ''
  reply[#reply + 1], copied = data, copied + #data
end
return reply
