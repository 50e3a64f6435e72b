-- pause: stops or resumes the claiming of a queue's jobs.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta wake
-- ARGV: seq first paused
-- Returns: {paused}, '0' or '1'; {'U'} undeclared
-- include text
-- include session
-- include wake
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
if arg_paused ~= '0' and arg_paused ~= '1' then return redis.error_reply('TASKQ_ARGS pause takes 0 or 1') end
if redis.call('HEXISTS', key_meta, 'discipline') == 0 then return {'U'} end
redis.call('HSET', key_meta, 'paused', arg_paused)
if arg_paused == '1' then
  redis.call('DEL', key_wake)
else
  set_token() -- in any case: who waits must learn anew which jobs are due
end
remember(arg_paused)
return {arg_paused}
