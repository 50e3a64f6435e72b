-- relay: accepts follow-ups of other queues' jobs, each id once, also after it has ended.
-- Flags: allow-oom
-- Moves: new -> ready | delayed
-- KEYS: meta jobs ready delayed wake then per job its result key and its mark
-- ARGV: mark_ms then per job: id delay_ms data
-- Returns: {letters}, one a job: A accepted, D known; or {'U'} undeclared
-- include clock
-- include text
-- include wake
-- include order
local meta = redis.call('HMGET', key_meta, 'discipline', 'seq', 'paused')
if not meta[1] then return {'U'} end
local now, letters, added, k = read_clock(), {}, 0, 0
local score_of, save = scores(meta[1], meta[2], now)
local stamp = digits(math.floor(now / 1000)) .. ';'
for i = REST + 1, #ARGV, 3 do
  local id, delay, data = ARGV[i], tonumber(ARGV[i + 1]), stamp .. ARGV[i + 2]
  local result_key, mark_key = KEYS[FIXED + 2 * k + 1], KEYS[FIXED + 2 * k + 2]
  k = k + 1
  if redis.call('EXISTS', result_key, mark_key) > 0 or redis.call('HSETNX', key_jobs, id, data) == 0 then
    letters[k] = 'D'
  else
    if delay == 0 then
      redis.call('ZADD', key_ready, score_of(data), id)
    else
      redis.call('ZADD', key_delayed, now + delay * 1000, id)
    end
    redis.call('SET', mark_key, '1', 'PX', arg_mark_ms)
    letters[k], added = 'A', added + 1
  end
end
if added > 0 then
  save()
  redis.call('HINCRBY', key_meta, 'enqueued', added)
  if meta[3] ~= '1' then set_token() end
end
return {table.concat(letters)}
