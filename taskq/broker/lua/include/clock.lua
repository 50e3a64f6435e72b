-- The server's time in microseconds, read once per script: two readings in one run can differ.
local function read_clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
