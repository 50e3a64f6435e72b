-- drop: forgets dead and quarantined jobs for good. Their results stay until they expire.
-- Flags: allow-oom
-- Moves: dead | quarantine -> done
-- KEYS: session jobs state dead quarantine
-- ARGV: seq first then ids, at most 100
-- Returns: {jobs dropped}
-- include text
-- include session
local reply, failure = recall()
if failure then return failure end
if reply then return {tonumber(reply)} end
if #ARGV - REST > 100 then return redis.error_reply('TASKQ_ARGS drop takes at most 100 jobs') end
local dropped = 0
for i = REST + 1, #ARGV do
  local id = ARGV[i]
  if redis.call('ZREM', key_dead, id) + redis.call('ZREM', key_quarantine, id) > 0 then
    redis.call('HDEL', key_jobs, id)
    redis.call('HDEL', key_state, id)
    dropped = dropped + 1
  end
end
remember(digits(dropped))
return {dropped}
