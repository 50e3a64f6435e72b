-- One reply is kept per session, so that a call whose reply was lost is repeated without a second effect (RIFL).
-- Uses key_session, arg_seq (ascending per session) and arg_first (what tells two calls apart after a fork).
local SESSION_MS = 300000 -- 5 minutes: far above the 60 s for which a client repeats a call

-- Returns the stored reply of this very call as text, or nil if it is new; an error as second value.
local function recall()
  local seq = whole(arg_seq)
  if not seq or seq == 0 then return nil, redis.error_reply('TASKQ_ARGS the call has no session') end
  local seen = redis.call('GET', key_session)
  if not seen then return nil end
  local mine = arg_seq .. ';' .. arg_first .. ';'
  if string.sub(seen, 1, #mine) == mine then return string.sub(seen, #mine + 1) end
  local last = tonumber(string.match(seen, '^%d+')) or 0
  if seq == last then
    return nil, redis.error_reply('TASKQ_MIXUP two calls carry number ' .. arg_seq .. ' of one session')
  elseif seq < last then
    return nil, redis.error_reply('TASKQ_STALE call ' .. arg_seq .. ' came after call ' .. digits(last))
  end
  return nil
end

local function remember(reply)
  redis.call('SET', key_session, arg_seq .. ';' .. arg_first .. ';' .. reply, 'PX', SESSION_MS)
end
