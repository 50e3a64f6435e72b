-- ended: reads some of the jobs that ended inside a script and wait for their result.
-- Flags: no-writes
-- Moves: none
-- KEYS: jobs state ended
-- ARGV: only after
--   only: an id, or '' for up to 50 of them
--   after: '' for any 50, or where a walk through all goes on: '0', then what the last call returned until that is '0'
-- Returns: {now, where the walk goes on, then id reason state data per job}; of a walk's large jobs data may be nil
-- include clock
-- include text
local ENOUGH = 1000000 -- bytes of jobs after which no more are read
if arg_after ~= '' and not whole(arg_after) then
  return redis.error_reply('TASKQ_ARGS the place ' .. arg_after .. ' is no number')
end
local reply = {digits(read_clock()), ''}
local found
if arg_only ~= '' then
  local reason = redis.call('HGET', key_ended, arg_only)
  found = reason and {arg_only, reason} or {}
elseif arg_after ~= '' then
  local part = redis.call('HSCAN', key_ended, arg_after, 'COUNT', 50)
  reply[2], found = part[1], part[2]
else
  -- Not HSCAN: it finds nothing in the first buckets of a hash that was emptied from there.
  found = redis.call('HRANDFIELD', key_ended, 50, 'WITHVALUES')
end
local copied = 0
for i = 1, #found, 2 do
  if copied > ENOUGH and arg_after == '' then break end
  reply[#reply + 1] = found[i]
  reply[#reply + 1] = found[i + 1]
  reply[#reply + 1] = redis.call('HGET', key_state, found[i]) or ''
  local data = copied <= ENOUGH and (redis.call('HGET', key_jobs, found[i]) or '')
  reply[#reply + 1], copied = data, copied + (data and #data or 0)
end
return reply
