-- enqueue: accepts jobs as ready or delayed, each id at most once, up to the queue's bound.
-- Flags: none
-- Moves: new -> ready | delayed
-- KEYS: session meta jobs state ready delayed wake
-- ARGV: seq first forced then per job: id delay_ms data
--   forced '1' passes the bound; a batch is accepted as a prefix
-- Returns: {letters}, one a job: A accepted, D known with the same content, C known with another, F full; or {'U'} undeclared
-- include clock
-- include text
-- include session
-- include wake
-- include order
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
if (#ARGV - REST) % 3 ~= 0 then return redis.error_reply('TASKQ_ARGS enqueue takes three values a job') end
for i = REST + 1, #ARGV, 3 do
  if ARGV[i] == '' or not string.find(ARGV[i + 1], '^%d+$') or not string.find(ARGV[i + 2], '^%d+;') then
    return redis.error_reply('TASKQ_ARGS job ' .. ARGV[i] .. ' is malformed')
  end
  local rank = priority_of('0;' .. ARGV[i + 2])
  if rank ~= rank or rank - rank ~= 0 then return redis.error_reply('TASKQ_PRIORITY ' .. ARGV[i]) end
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize', 'seq', 'paused')
if not meta[1] then return {'U'} end
local now = read_clock()
local room = math.huge
local maxsize = tonumber(meta[2]) or 0
if maxsize > 0 and arg_forced ~= '1' then
  room = maxsize - redis.call('ZCARD', key_ready) - redis.call('ZCARD', key_delayed)
end
local score_of, save = scores(meta[1], meta[3], now)
local stamp = digits(math.floor(now / 1000)) .. ';'
local letters, ready, delayed, earliest = {}, {}, {}, nil
for i = REST + 1, #ARGV, 3 do
  local id, data = ARGV[i], stamp .. ARGV[i + 2]
  local letter = 'F'
  if room <= 0 and redis.call('HEXISTS', key_jobs, id) == 0 then
    room = -1 -- the rest of the batch stays out: what is accepted is a prefix
  elseif room == -1 or redis.call('HSETNX', key_jobs, id, data) == 0 then
    local old = redis.call('HGET', key_jobs, id)
    letter = string.sub(old, (string.find(old, ';', 1, true) or 0) + 1) == ARGV[i + 2] and 'D' or 'C'
  else
    letter, room = 'A', room - 1
    if ARGV[i + 1] == '0' then
      ready[#ready + 1] = score_of(data)
      ready[#ready + 1] = id
    else
      local due = now + tonumber(ARGV[i + 1]) * 1000
      delayed[#delayed + 1] = due
      delayed[#delayed + 1] = id
      if not earliest or due < earliest then earliest = due end
    end
  end
  letters[#letters + 1] = letter
end
if #ready > 0 then
  call_chunked('ZADD', key_ready, ready, 2000)
  save()
  if meta[4] ~= '1' then set_token() end
end
if #delayed > 0 then
  local first = redis.call('ZRANGE', key_delayed, 0, 0, 'WITHSCORES')
  call_chunked('ZADD', key_delayed, delayed, 2000)
  if not first[2] or tonumber(first[2]) > earliest then set_token() end
end
local accepted = (#ready + #delayed) / 2
if accepted > 0 then redis.call('HINCRBY', key_meta, 'enqueued', accepted) end
reply = table.concat(letters)
remember(reply)
return {reply}
