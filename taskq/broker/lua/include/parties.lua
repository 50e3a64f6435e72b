-- Which parties of a barrier are alive, see barrier.

-- Breaks what a party leaves incomplete whose lease is over.
local function lapse(now, grace, jump, lease, parties)
  local before = overdue(now, grace, jump, lease, key_barrier)
  if not before then return end
  local lowest
  for _, address in ipairs(redis.call('ZRANGEBYSCORE', key_deadlines, '-inf', '(' .. digits(before), 'LIMIT', 0, 100)) do
    local ticket = tonumber(redis.call('ZSCORE', key_arrived, address))
    if ticket and (not lowest or ticket < lowest) then lowest = ticket end
  end
  if lowest then break_from(math.floor(lowest / parties), parties) end
end

-- Whether a party of a generation may have died: its lease is over, though it has a grace to renew it.
local function is_in_doubt(generation, now, parties)
  for _, address in ipairs(redis.call('ZRANGEBYSCORE', key_deadlines, '-inf', '(' .. digits(now))) do
    local ticket = tonumber(redis.call('ZSCORE', key_arrived, address))
    if ticket and math.floor(ticket / parties) == generation then return true end
  end
  return false
end
