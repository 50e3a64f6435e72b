-- purge: ends waiting jobs, up to 100 a call.
-- Flags: allow-oom
-- Moves: ready | delayed | suspect -> ended
-- KEYS: session ready delayed wake ended suspect meta putters
-- ARGV: seq first limit channels
-- Returns: {jobs ended, jobs left waiting}
-- include text
-- include session
-- include state
-- include line
-- include room
local reply, failure = recall()
if failure then return failure end
if reply then
  local done, left = string.match(reply, '^(%d+) (%d+)$')
  return {tonumber(done), tonumber(left)}
end
local limit, done, left = whole(arg_limit), 0, 0
if not limit then return redis.error_reply('TASKQ_ARGS purge takes a number of jobs') end
limit = math.min(limit, 100)
for _, source in ipairs({key_ready, key_delayed, key_suspect}) do
  local ids = limit > done and redis.call('ZRANGE', source, 0, limit - done - 1) or {}
  for _, id in ipairs(ids) do end_job(id, 'purged') end
  if #ids > 0 then redis.call('ZREM', source, unpack(ids)) end
  done, left = done + #ids, left + redis.call('ZCARD', source)
end
if left == 0 then redis.call('DEL', key_wake) end -- else it may tell of a due time
open_room(redis.call('HGET', key_meta, 'maxsize'))
remember(done .. ' ' .. left)
return {done, left}
