-- Whole numbers as text: `..` would round them to 14 digits.
local function digits(n)
  return string.format('%.0f', n)
end

-- A whole number that came as text, or nil: tonumber alone also takes 'nan', 'inf', ' 5 ' and '0x10'.
local function whole(text)
  if not text or #text > 16 or not string.find(text, '^%d+$') then return nil end
  return tonumber(text)
end

-- The first field of a stored job: milliseconds, as wide in 1970 as today.
local function stamp(now)
  return string.format('%013.0f', math.floor(now / 1000)) .. ';'
end

-- The version of a stored job's envelope if it is newer than these scripts: workers of a newer taskq read it. Else nil.
-- All that is known of it is the time before its version, and the priority where version 1 has it.
local function newer(data)
  local version = string.match(data or '', '^%d+;([1-9]%d?%d?);')
  return version ~= '1' and version or nil
end

-- Counts in a hash of ours. A counter that hands made no number starts anew: an error here would come after writes, at
-- each repetition.
local function count_up(key, field, times)
  local counted = redis.pcall('HINCRBY', key, field, times)
  if type(counted) == 'number' then return counted end
  redis.call('HSET', key, field, digits(times))
  return times
end

-- Calls a command with many arguments in chunks that Lua's stack can carry.
local function call_chunked(command, key, args, step)
  for from = 1, #args, step do
    redis.call(command, key, unpack(args, from, math.min(from + step - 1, #args)))
  end
end
