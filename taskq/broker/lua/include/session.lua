-- One reply is kept per session, so that a call whose reply was lost is repeated without a second effect (RIFL).
-- Uses key_session, arg_seq (ascending per session) and arg_first (what tells two calls apart after a fork).
local SESSION_MS = 300000 -- 5 minutes: far above the 60 s for which a client repeats a call

-- Returns the stored reply of this very call as text, or nil if it is new; an error as second value.
local function recall()
  local seen = redis.call('GET', key_session)
  if not seen then return nil end
  local last, first, reply = string.match(seen, '^(%d+);([^;]*);(.*)$')
  if last == arg_seq then
    if first ~= arg_first then
      return nil, redis.error_reply('TASKQ_MIXUP two calls carry number ' .. arg_seq .. ' of one session')
    end
    return reply
  end
  if tonumber(arg_seq) < tonumber(last) then
    return nil, redis.error_reply('TASKQ_STALE call ' .. arg_seq .. ' came after call ' .. last)
  end
  return nil
end

local function remember(reply)
  redis.call('SET', key_session, arg_seq .. ';' .. arg_first .. ';' .. reply, 'PX', SESSION_MS)
end
