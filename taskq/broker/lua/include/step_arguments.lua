-- Reads step's counts and checks all arguments: an error after a write would come back at each repetition.
local MAX_SETTLED = 2000 -- a call: as many as Lua's stack carries in one command, with room
local plain, full, started, follow = whole(arg_plain), whole(arg_full), whole(arg_started), whole(arg_follow)
local count, suspects, max_bytes = whole(arg_count), whole(arg_suspects), whole(arg_max_bytes)

local function arguments_fit()
  if not (plain and full and started and follow and count and suspects and max_bytes) then return false end
  if plain > MAX_SETTLED or full > MAX_SETTLED or FIXED + full ~= #KEYS
    or REST + 2 * plain + 7 * full + started + 3 * follow ~= #ARGV then return false end
  for i = REST + 2 * plain + 1, REST + 2 * plain + 7 * full, 7 do
    if not (whole(ARGV[i + 1]) and COUNTERS[ARGV[i + 2]] and whole(ARGV[i + 4])) then return false end
  end
  for i = #ARGV - 3 * follow + 1, #ARGV, 3 do
    local index = whole(ARGV[i])
    if not index or index < 1 or index > full then return false end
  end
  return true
end
