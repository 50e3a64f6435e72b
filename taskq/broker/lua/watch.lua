-- watch: has scripts tell a channel what becomes of a queue's jobs, for some seconds.
-- Flags: allow-oom
-- Moves: none
-- KEYS: meta
-- ARGV: channel queue ms
-- Returns: {'W'} watched, at least that long; {'I'} it holds items. No session, as it may run twice
-- include clock
-- include text
-- include lifecycle
local ms = whole(arg_ms)
if not ms or ms == 0 or ms * 1000 > MAX_WATCH or string.find(arg_channel .. arg_queue, '%s') or arg_channel == ''
  or arg_queue == '' then
  return redis.error_reply('TASKQ_ARGS watch was given ' .. arg_ms .. ' ms')
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'content', 'watch')
if meta[2] == 'items' then
  redis.call('HDEL', key_meta, 'watch')
  return {'I'}
end
local now = read_clock()
local known, wanted = whole(string.match(meta[3] or '', '^(%d+) %S+ %S+$')) or 0, now + ms * 1000
if known < wanted or known > now + MAX_WATCH then
  redis.call('HSET', key_meta, 'watch', digits(wanted) .. ' ' .. arg_channel .. ' ' .. arg_queue)
end
-- Its first job is seen too. Where nobody declares it, nothing must stay of it.
if not meta[1] and redis.call('PTTL', key_meta) < ms then redis.call('PEXPIRE', key_meta, arg_ms) end
return {'W'}
