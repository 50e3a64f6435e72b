-- refuse: has a queue refuse new jobs while the server may evict them, or take them again.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta
-- ARGV: every_ms why
--   every_ms: until the worker looks again; why: one line of at most 300 bytes, '' to take new jobs
-- Returns: {'R'} refuses; {'T'} takes. No session, as it may run twice
-- include clock
-- include text
-- include refusal
local every = whole(arg_every_ms)
if not every or every == 0 or every > MAX_EVERY or #arg_why > 300 or string.find(arg_why, '%c') then
  return redis.error_reply('TASKQ_ARGS refuse was given ' .. arg_every_ms .. ' ms and ' .. #arg_why .. ' bytes')
end
if arg_why == '' then
  redis.call('HDEL', key_meta, 'refusal')
  return {'T'}
end
local meta, now = redis.call('HMGET', key_meta, 'discipline', 'refusal'), read_clock()
local looked = digits(math.floor(now / 1000))
local since = refusal_of(meta[2], now) or looked
redis.call('HSET', key_meta, 'refusal', table.concat({looked, digits(every), since, arg_why}, ' '))
-- Its first job is refused too. Where nobody declares it, nothing must stay of it.
for _, if_it_has in ipairs(meta[1] and {} or {'NX', 'GT'}) do -- none, or a shorter one
  redis.call('PEXPIRE', key_meta, digits(LOOKS * every), if_it_has)
end
return {'R'}
