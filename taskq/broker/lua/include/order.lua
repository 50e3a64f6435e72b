-- Scores of the ready set: the place of a job that becomes ready now. Lower leaves first.
local function priority_of(data)
  local rank = tonumber((string.match(data, '^%d+;%d+;[^;\n]*;[^;\n]*;[^;\n]*;([^;\n]*)')))
  if not rank or rank - rank ~= 0 then return 0 end -- nan and inf come only by hand, and ZADD fails at nan
  return rank
end

-- Returns a function from a job's stored data to its score, and one that writes the counter back.
-- seq = max(last + 1, microseconds): it orders, tells the age of the oldest job and survives a failover.
local function scores(discipline, last, now)
  local seq = math.max(whole(last) or 0, now - 1)
  local function score_of(data)
    seq = seq + 1
    if discipline == 'priority' then return priority_of(data) end
    return discipline == 'lifo' and -seq or seq
  end
  local function save()
    redis.call('HSET', key_meta, 'seq', digits(seq))
  end
  return score_of, save
end
