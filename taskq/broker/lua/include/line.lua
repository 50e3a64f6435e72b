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
