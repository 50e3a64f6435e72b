-- inspect: reads a queue's lengths and counters, or where one job is.
-- Flags: no-writes
-- Moves: none
-- KEYS: meta jobs state ready delayed dead ended outbox suspect quarantine revoked
-- ARGV: id
-- Returns: without id {now, ready, delayed, suspect, dead, ended, outbox, quarantine, jobs, oldest ready, meta fields...};
--   with id {place, score, state, data}, place '' if unknown
-- include clock
-- include text
if arg_id == '' then
  local oldest = ''
  for _, at in ipairs({0, -1}) do
    local head = redis.call('ZRANGE', key_ready, at, at)[1]
    local data = head and redis.call('HGET', key_jobs, head)
    local since = data and string.match(data, '^(%d+);')
    if since and (oldest == '' or tonumber(since) < tonumber(oldest)) then oldest = since end
  end
  return {digits(read_clock()), redis.call('ZCARD', key_ready), redis.call('ZCARD', key_delayed), redis.call('ZCARD', key_suspect),
    redis.call('ZCARD', key_dead), redis.call('HLEN', key_ended), redis.call('HLEN', key_outbox),
    redis.call('ZCARD', key_quarantine), redis.call('HLEN', key_jobs), oldest, unpack(redis.call('HGETALL', key_meta))}
end
local data = redis.call('HGET', key_jobs, arg_id)
if not data then return {'', '', '', ''} end
local state = redis.call('HGET', key_state, arg_id) or ''
local reason = redis.call('HGET', key_ended, arg_id)
if reason then return {reason, '', state, data} end
local places = {ready = key_ready, delayed = key_delayed, suspect = key_suspect, dead = key_dead, quarantine = key_quarantine}
for place, key in pairs(places) do
  local score = redis.call('ZSCORE', key, arg_id)
  if score then return {place, score, state, data} end
end
return {redis.call('HEXISTS', key_revoked, arg_id) == 1 and 'revoked' or 'running', '', state, data}
