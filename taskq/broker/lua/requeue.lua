-- requeue: puts dead jobs back in line as if they came now, with a clean history; the delivery number goes on.
-- Flags: none
-- Moves: dead -> ready
-- KEYS: session meta jobs state ready dead wake then a result key per job
-- ARGV: seq first then ids, at most 100
--   the old result of each goes, and the time after which it may not start is counted anew
-- Returns: {jobs put back}
-- include clock
-- include text
-- include session
-- include wake
-- include order
-- include state
-- include lifecycle
local reply, failure = recall()
if failure then return failure end
if reply then return {tonumber(reply)} end
if #ARGV - REST > 100 or #KEYS ~= FIXED + #ARGV - REST then
  return redis.error_reply('TASKQ_ARGS requeue takes at most 100 jobs and a key for each')
end
local meta, now = redis.call('HMGET', key_meta, 'discipline', 'seq', 'watch'), read_clock()
local score_of, save = scores(meta[1], meta[2], now)
begin_telling(meta[3], now)
local back = 0
for i = REST + 1, #ARGV do
  local id, data = ARGV[i], redis.call('HGET', key_jobs, ARGV[i])
  if data and redis.call('ZSCORE', key_dead, id) then
    local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
    redis.call('ZADD', key_ready, score_of(data), id)
    redis.call('HSET', key_jobs, id, (string.gsub(data, '^%d+;', stamp(now), 1)))
    redis.call('DEL', KEYS[FIXED + i - REST])
    write_state(id, {state[1], 0, 0, 0, 0, '', state[7] + 1})
    redis.call('ZREM', key_dead, id)
    observe('enqueued', id, nil, nil, nil, nil, data)
    back = back + 1
  end
end
if back > 0 then
  save()
  count_up(key_meta, 'requeued', back)
  offer_token()
end
remember(digits(back))
tell_watchers('')
return {back}
