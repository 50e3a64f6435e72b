-- Stores result records and tells each producer's process with one message per script run.
local INLINE_LIMIT = 16384 -- bytes of a record sent along; a larger one is read by who waits for it

local function announcer(prefix, queue)
  local parts = {}
  local function announce(id, reply, record)
    if reply == '' then return end
    local list = parts[reply]
    if not list then
      list = {queue .. '\n'}
      parts[reply] = list
    end
    local shown = #record <= INLINE_LIMIT and record or ''
    list[#list + 1] = id .. ' ' .. #shown .. '\n' .. shown
  end
  local function flush()
    for reply, list in pairs(parts) do
      -- A right to the channel may be missing: that must not undo a settlement, and who waits reads in the end.
      redis.pcall('PUBLISH', prefix .. reply, table.concat(list))
    end
  end
  return announce, flush
end
