-- move: ends a job that no worker has, so that it goes on in another queue; its follow-up there is the job itself.
-- Flags: allow-oom
-- Moves: ready | delayed | suspect | dead -> ended
-- KEYS: session jobs ready delayed ended suspect dead quarantine meta putters
-- ARGV: seq first id target unique channels sealed
--   sealed is empty, or the header that a signed job has in the target
-- Returns: {'M'} on its way, {'L'} with a worker, {'E'} ending, ended or quarantined, {'V'} newer than this, {'X'} damaged,
--   {'N'} unknown here; {'moved target unique due [sealed]'} if it was on its way before
-- include text
-- include session
-- include state
-- include envelope
-- include line
-- include room
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
if not string.find(arg_target, '^%w[%w._~-]*$') or not string.find(arg_unique, '^%w[%w._-]*$')
  or string.find(arg_sealed, '[%s%c]') then
  return redis.error_reply('TASKQ_ARGS move takes a queue, an id and a header')
end
reply = 'L'
local data, reason = redis.call('HGET', key_jobs, arg_id), redis.call('HGET', key_ended, arg_id)
if not data then
  reply = 'N'
elseif reason and string.sub(reason, 1, 6) == 'moved ' then
  reply = reason
elseif reason or redis.call('ZSCORE', key_quarantine, arg_id) then
  reply = 'E'
elseif newer(data) then
  reply = 'V' -- the time that is left to its start is in its header
elseif fault(arg_unique, '0', string.sub(data, (string.find(data, ';', 1, true) or 0) + 1)) then
  reply = 'X' -- the other queue would not take it
else
  local due = redis.call('ZSCORE', key_delayed, arg_id) or redis.call('ZSCORE', key_suspect, arg_id)
    or (redis.call('ZSCORE', key_dead, arg_id) and 'dead')
  if due or redis.call('ZSCORE', key_ready, arg_id) then
    local sealed = arg_sealed ~= '' and ' ' .. arg_sealed or ''
    end_job(arg_id, 'moved ' .. arg_target .. ' ' .. arg_unique .. ' ' .. (due or '0') .. sealed)
    redis.call('ZREM', key_ready, arg_id)
    redis.call('ZREM', key_delayed, arg_id)
    redis.call('ZREM', key_suspect, arg_id)
    redis.call('ZREM', key_dead, arg_id)
    open_room(redis.call('HGET', key_meta, 'maxsize'))
    reply = 'M'
  end
end
remember(reply)
return {reply}
