-- Whole numbers as text: `..` would round them to 14 digits.
local function digits(n)
  return string.format('%.0f', n)
end

-- Calls a command with many arguments in chunks that Lua's stack can carry.
local function call_chunked(command, key, args, step)
  for from = 1, #args, step do
    redis.call(command, key, unpack(args, from, math.min(from + step - 1, #args)))
  end
end
