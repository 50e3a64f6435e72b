-- purge: ends waiting jobs, up to 100 a call.
-- Flags: allow-oom
-- Moves: ready | delayed -> ended
-- KEYS: jobs ready delayed wake ended
-- ARGV: limit
-- Returns: {jobs ended, jobs left waiting}
-- include text
-- include state
local limit, done = math.min(tonumber(arg_limit), 100), 0
for _, source in ipairs({key_ready, key_delayed}) do
  local ids = limit > done and redis.call('ZRANGE', source, 0, limit - done - 1) or {}
  for _, id in ipairs(ids) do end_job(id, 'purged') end
  if #ids > 0 then redis.call('ZREM', source, unpack(ids)) end
  done = done + #ids
end
if redis.call('EXISTS', key_ready) == 0 then redis.call('DEL', key_wake) end
return {done, redis.call('ZCARD', key_ready) + redis.call('ZCARD', key_delayed)}
