-- cancel: takes a job out before it starts, or marks it revoked if a worker has it.
-- Flags: allow-oom
-- Moves: ready | delayed | suspect -> ended
-- KEYS: session jobs ready delayed ended suspect dead quarantine revoked meta putters
-- ARGV: seq first id revoke channels
--   revoke: '' only takes out, 'r' also revokes, 't' also asks to terminate
-- Returns: {'C'} taken out, {'L'} with a worker, {'E'} already ending or ended, {'N'} unknown here
-- include text
-- include session
-- include state
-- include line
-- include room
local REVOKED_MS = 86400000 -- a day: longer than a worker holds a job that it was told to drop
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
if arg_revoke ~= '' and arg_revoke ~= 'r' and arg_revoke ~= 't' then
  return redis.error_reply('TASKQ_ARGS cancel revokes by r or t, not ' .. arg_revoke)
end
reply = 'L'
if redis.call('HEXISTS', key_jobs, arg_id) == 0 then
  reply = 'N'
elseif redis.call('HEXISTS', key_ended, arg_id) == 1 or redis.call('ZSCORE', key_dead, arg_id)
  or redis.call('ZSCORE', key_quarantine, arg_id) then
  reply = 'E'
elseif redis.call('ZSCORE', key_ready, arg_id) or redis.call('ZSCORE', key_delayed, arg_id)
  or redis.call('ZSCORE', key_suspect, arg_id) then
  end_job(arg_id, 'cancelled')
  redis.call('ZREM', key_ready, arg_id)
  redis.call('ZREM', key_delayed, arg_id)
  redis.call('ZREM', key_suspect, arg_id)
  open_room(redis.call('HGET', key_meta, 'maxsize'))
  reply = 'C'
elseif arg_revoke ~= '' then
  redis.call(arg_revoke == 't' and 'HSET' or 'HSETNX', key_revoked, arg_id, arg_revoke) -- 'r' does not take back 't'
  redis.call('PEXPIRE', key_revoked, REVOKED_MS)
end
remember(reply)
return {reply}
