-- enqueue: accepts jobs as ready or delayed, each id at most once, up to the queue's bound.
-- Flags: none
-- Moves: new -> ready | delayed
-- KEYS: session meta jobs ready delayed wake
-- ARGV: seq first forced then per job: id delay_ms data
--   forced '1' passes the bound and a refusal; a batch is accepted as a prefix
-- Returns: {letters}, one a job: A accepted, D known with the same content, C known with another, F full; or {'U'} undeclared;
--   the error TASKQ_REFUSED since why, for jobs that are new, while the server may evict them: then nothing was accepted
-- include clock
-- include text
-- include session
-- include order
-- include envelope
-- include lifecycle
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
for i = REST + 1, #ARGV, 3 do
  local wrong = fault(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  if wrong then return redis.error_reply(wrong .. ' ' .. ARGV[i]) end
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize', 'seq', 'paused', 'watch', 'refusal')
if not meta[1] then return {'U'} end
local now = read_clock()
if meta[6] and arg_forced ~= '1' then
-- include refusal
  local since, why = refusal_of(meta[6], now)
  if not since then redis.call('HDEL', key_meta, 'refusal') end
  for i = REST + 1, since and #ARGV or 0, 3 do
    if redis.call('HEXISTS', key_jobs, ARGV[i]) == 0 then return redis.error_reply('TASKQ_REFUSED ' .. since .. ' ' .. why) end
  end
end
-- Keys of a wrong type show themselves here, before the first write.
local waiting, token = redis.call('ZCARD', key_ready) + redis.call('ZCARD', key_delayed), redis.call('LLEN', key_wake)
local maxsize, room = tonumber(meta[2]) or 0, math.huge
if maxsize > 0 and arg_forced ~= '1' then room = maxsize - waiting end
local score_of, save = scores(meta[1], meta[3], now)
begin_telling(meta[5], now)
local letters, ready, delayed, earliest, since = {}, {}, {}, nil, stamp(now)
for i = REST + 1, #ARGV, 3 do
  local id, data = ARGV[i], since .. ARGV[i + 2]
  local letter = 'F'
  if room <= 0 and redis.call('HEXISTS', key_jobs, id) == 0 then
    room = -1 -- the rest of the batch stays out: what is accepted is a prefix
  elseif room == -1 or redis.call('HSETNX', key_jobs, id, data) == 0 then
    local old = redis.call('HGET', key_jobs, id)
    letter = string.sub(old, (string.find(old, ';', 1, true) or 0) + 1) == ARGV[i + 2] and 'D' or 'C'
  else
    letter, room = 'A', room - 1
    local delay = tonumber(ARGV[i + 1])
    observe('enqueued', id, nil, nil, delay, nil, data)
    if delay == 0 then
      ready[#ready + 1] = score_of(data)
      ready[#ready + 1] = id
    else
      local due = now + delay * 1000
      delayed[#delayed + 1] = due
      delayed[#delayed + 1] = id
      if not earliest or due < earliest then earliest = due end
    end
  end
  letters[#letters + 1] = letter
end
local wake = #ready > 0 and meta[4] ~= '1'
if #ready > 0 then
  call_chunked('ZADD', key_ready, ready, 2000)
  save()
end
if #delayed > 0 then
  local first = redis.call('ZRANGE', key_delayed, 0, 0, 'WITHSCORES')
  call_chunked('ZADD', key_delayed, delayed, 2000)
  if not first[2] or tonumber(first[2]) > earliest then wake = true end
end
if wake and token == 0 then redis.call('RPUSH', key_wake, '1') end
if #ready + #delayed > 0 then count_up(key_meta, 'enqueued', (#ready + #delayed) / 2) end
reply = table.concat(letters)
remember(reply)
tell_watchers('')
return {reply}
