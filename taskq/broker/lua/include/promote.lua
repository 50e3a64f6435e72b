-- Moves due jobs from delayed to ready, in due order. Returns whether more are due.
local PROMOTE_LIMIT = 200 -- jobs a run, which keeps the script under a millisecond

local function promote(discipline, last, now)
  local due = redis.call('ZRANGEBYSCORE', key_delayed, '-inf', now, 'LIMIT', 0, PROMOTE_LIMIT)
  if #due == 0 then return false end
  local score_of, save = scores(discipline, last, now)
  local data = discipline == 'priority' and redis.call('HMGET', key_jobs, unpack(due)) or {}
  local pairs_ = {}
  for i, id in ipairs(due) do
    pairs_[2 * i - 1] = score_of(data[i] or '')
    pairs_[2 * i] = id
  end
  redis.call('ZADD', key_ready, unpack(pairs_))
  save()
  redis.call('ZREM', key_delayed, unpack(due))
  return #due == PROMOTE_LIMIT
end

-- The earliest time in a sorted set of times, 0 for none.
local function first_due(source)
  local head = tonumber(redis.call('ZRANGE', source, 0, 0, 'WITHSCORES')[2] or 0)
  return digits(math.max(0, math.min(head, 2 ^ 53))) -- infinite ones come only by hand
end
