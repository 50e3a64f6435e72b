-- requeue: puts dead jobs back in line with a clean history; the delivery number goes on.
-- Flags: none
-- Moves: dead -> ready
-- KEYS: session meta jobs state ready dead wake
-- ARGV: seq first then ids, at most 100
-- Returns: {jobs put back}
-- include clock
-- include text
-- include session
-- include wake
-- include order
-- include state
local reply, failure = recall()
if failure then return failure end
if reply then return {tonumber(reply)} end
if #ARGV - REST > 100 then return redis.error_reply('TASKQ_ARGS requeue takes at most 100 jobs') end
local meta = redis.call('HMGET', key_meta, 'discipline', 'seq')
local score_of, save = scores(meta[1], meta[2], read_clock())
local back = 0
for i = REST + 1, #ARGV do
  local id, data = ARGV[i], redis.call('HGET', key_jobs, ARGV[i])
  if data and redis.call('ZSCORE', key_dead, id) then
    local state = read_state(redis.call('HGET', key_state, id)) or read_state(nil)
    redis.call('ZADD', key_ready, score_of(data), id)
    write_state(id, {state[1], 0, 0, 0, 0, ''})
    redis.call('ZREM', key_dead, id)
    back = back + 1
  end
end
if back > 0 then
  save()
  redis.call('HINCRBY', key_meta, 'requeued', back)
  offer_token()
end
remember(digits(back))
return {back}
