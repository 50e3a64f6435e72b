-- drop: forgets dead and quarantined jobs for good. Their results stay until they expire.
-- Flags: allow-oom
-- Moves: dead | quarantine -> done
-- KEYS: session jobs state ready delayed suspect dead ended quarantine then the leases of the queue's workers
-- ARGV: seq first then ids, at most 100
-- Returns: {jobs dropped}
-- include text
-- include session
local reply, failure = recall()
if failure then return failure end
if reply then return {tonumber(reply)} end
if #ARGV - REST > 100 then return redis.error_reply('TASKQ_ARGS drop takes at most 100 jobs') end

-- Whether a job in order came back under the id of a damaged one.
local function lives(id)
  for _, place in ipairs({key_ready, key_delayed, key_suspect}) do
    if redis.call('ZSCORE', place, id) then return true end
  end
  for i = FIXED + 1, #KEYS do
    if redis.call('HEXISTS', KEYS[i], id) == 1 then return true end
  end
  return redis.call('HEXISTS', key_ended, id) == 1
end

local dropped = 0
for i = REST + 1, #ARGV do
  local id = ARGV[i]
  if redis.call('ZREM', key_dead, id) + redis.call('ZREM', key_quarantine, id) > 0 then
    dropped = dropped + 1
    if not lives(id) then
      redis.call('HDEL', key_jobs, id)
      redis.call('HDEL', key_state, id)
    end
  end
end
remember(digits(dropped))
return {dropped}
