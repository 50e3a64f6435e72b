-- enqueue_one: accepts one job that is not delayed; does what enqueue does, in half the commands.
-- Flags: none
-- Moves: new -> ready
-- KEYS: session meta jobs ready delayed wake
-- ARGV: seq first forced id delay_ms data
-- Returns: as enqueue
-- include clock
-- include text
-- include envelope
local SESSION_MS = 300000 -- as in include/session
local seq = whole(arg_seq)
-- Most jobs have no flags, no expiry and no priority, so that there is less to look at.
local plain = string.find(arg_data, '^1;;[^;\n]*;;\n') and #arg_id <= MAX_ID and string.find(arg_id, '^%w[%w._-]*$')
local wrong = (not seq or seq == 0 or arg_delay_ms ~= '0') and 'TASKQ_ARGS'
  or (not plain and fault(arg_id, arg_delay_ms, arg_data))
if wrong then return redis.error_reply(wrong .. ' ' .. arg_id) end
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize', 'seq', 'paused', 'enqueued', 'watch', 'refusal')
if not meta[1] then return {'U'} end
local now, letter = read_clock(), 'A'
if meta[7] and arg_forced ~= '1' then
-- include refusal
  local since, why = refusal_of(meta[7], now)
  if not since then redis.call('HDEL', key_meta, 'refusal') end
  -- A call that was answered before is answered below, as is an old one.
  local last = since and tonumber(string.match(redis.call('GET', key_session) or '', '^%d+')) or 0
  if since and seq > last and redis.call('HEXISTS', key_jobs, arg_id) == 0 then
    return redis.error_reply('TASKQ_REFUSED ' .. since .. ' ' .. why)
  end
end
local maxsize = tonumber(meta[2]) or 0
local full = maxsize > 0 and arg_forced ~= '1' and redis.call('ZCARD', key_ready) + redis.call('ZCARD', key_delayed) >= maxsize
  and redis.call('HEXISTS', key_jobs, arg_id) == 0
local token = redis.call('LLEN', key_wake)
local mine = arg_seq .. ';' .. arg_first .. ';'
-- Most jobs are accepted, so the reply is stored while the last one is read, and put right where that was wrong.
local seen = redis.call('SET', key_session, mine .. 'A', 'PX', SESSION_MS, 'GET')
if seen then
  local last = tonumber(string.match(seen, '^%d+')) or 0
  if seq <= last then
    redis.call('SET', key_session, seen, 'PX', SESSION_MS)
    if string.sub(seen, 1, #mine) == mine then return {string.sub(seen, #mine + 1)} end
    if seq == last then return redis.error_reply('TASKQ_MIXUP two calls carry number ' .. arg_seq .. ' of one session') end
    return redis.error_reply('TASKQ_STALE call ' .. arg_seq .. ' came after call ' .. digits(last))
  end
end
local fresh = full or redis.pcall('HSETNX', key_jobs, arg_id, stamp(now) .. arg_data)
local place = math.max((whole(meta[3]) or 0) + 1, now)
local score = meta[1] == 'lifo' and -place or place
if meta[1] == 'priority' then score = tonumber(string.match(arg_data, '^1;[^;\n]*;[^;\n]*;[^;\n]*;([^;\n]*)')) or 0 end
local placed = fresh == 1 and redis.pcall('ZADD', key_ready, score, arg_id)
if type(fresh) == 'table' or type(placed) == 'table' then -- a key of a wrong type: as if nothing had been
  if seen then redis.call('SET', key_session, seen, 'PX', SESSION_MS) else redis.call('DEL', key_session) end
  if fresh == 1 then redis.call('HDEL', key_jobs, arg_id) end
  return type(fresh) == 'table' and fresh or placed
elseif full then
  letter = 'F'
elseif fresh == 0 then
  local old = redis.call('HGET', key_jobs, arg_id)
  letter = string.sub(old, (string.find(old, ';', 1, true) or 0) + 1) == arg_data and 'D' or 'C'
else
  redis.call('HSET', key_meta, 'seq', place, 'enqueued', (whole(meta[5]) or 0) + 1)
  if meta[4] ~= '1' and token == 0 then redis.call('RPUSH', key_wake, '1') end
  if meta[6] then
-- include lifecycle
    begin_telling(meta[6], now)
    observe('enqueued', arg_id, nil, nil, nil, nil, arg_data)
    tell_watchers('')
  end
end
if letter ~= 'A' then redis.call('SET', key_session, mine .. letter, 'PX', SESSION_MS) end
return {letter}
