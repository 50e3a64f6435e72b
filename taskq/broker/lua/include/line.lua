-- Tells waiters that stand in line, each by its address: the token of its process's channel, and a number there.
-- Uses arg_channels, the prefix of channels. Returns whether the process listens: one that died is passed over, one
-- that lost its connection looks again as soon as it has another.
local function tell(address, news)
  local token, number = string.match(address, '^(%w+)/(%d+)$')
  if not token then return false end
  -- A right to the channel may be missing: that must not undo what the script did.
  local listeners = redis.pcall('PUBLISH', arg_channels .. token, '~' .. number .. '\n' .. news)
  return type(listeners) == 'number' and listeners > 0
end

-- Tells the first of a line, as many as `count`, that it may try again; one that nobody hears for loses its turn.
local function call_up(place, count)
  while count > 0 do
    local address = redis.call('ZRANGE', place, 0, 0)[1]
    if not address then return end
    redis.call('ZREM', place, address)
    if tell(address, '') then count = count - 1 end
  end
end
