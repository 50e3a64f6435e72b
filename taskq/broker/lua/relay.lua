-- relay: accepts follow-ups of other queues' jobs, each id once, also after it has ended.
-- Flags: allow-oom
-- Moves: new -> ready | delayed
-- KEYS: meta jobs ready delayed wake then per job its result key and its mark
-- ARGV: mark_ms then per job: id delay_ms data
-- Returns: {letters}, one a job: A accepted, D known, X malformed; or {'U'} undeclared
-- include clock
-- include text
-- include wake
-- include order
-- include envelope
-- include lifecycle
local jobs, mark_ms = (#ARGV - REST) / 3, whole(arg_mark_ms)
if jobs % 1 ~= 0 or #KEYS ~= FIXED + 2 * jobs or not mark_ms or mark_ms == 0 then
  return redis.error_reply('TASKQ_ARGS relay takes two keys and three values a job')
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'seq', 'paused', 'watch')
if not meta[1] then return {'U'} end
local now, letters, added = read_clock(), {}, 0
local score_of, save = scores(meta[1], meta[2], now)
begin_telling(meta[4], now)
-- Keys of a wrong type show themselves here, before the first write.
local token = redis.call('ZCARD', key_ready) and redis.call('ZCARD', key_delayed) and redis.call('LLEN', key_wake)
for i = 1, jobs do
  local id, delay, data = unpack(ARGV, REST + 3 * i - 2, REST + 3 * i)
  local result_key, mark_key = KEYS[FIXED + 2 * i - 1], KEYS[FIXED + 2 * i]
  local stored = stamp(now) .. data
  if fault(id, delay, data, true) then
    letters[i] = 'X'
  elseif redis.call('EXISTS', result_key, mark_key) > 0 or redis.call('HSETNX', key_jobs, id, stored) == 0 then
    letters[i] = 'D'
  else
    if tonumber(delay) == 0 then
      redis.call('ZADD', key_ready, score_of(stored), id)
    else
      redis.call('ZADD', key_delayed, now + tonumber(delay) * 1000, id)
    end
    redis.call('SET', mark_key, '1', 'PX', arg_mark_ms)
    letters[i], added = 'A', added + 1
    observe('enqueued', id, nil, nil, delay, nil, stored)
  end
end
if added > 0 then
  save()
  count_up(key_meta, 'enqueued', added)
  if meta[3] ~= '1' and token == 0 then redis.call('RPUSH', key_wake, '1') end
end
tell_watchers('')
return {table.concat(letters)}
