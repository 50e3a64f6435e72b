-- What a producer may send: an id, a delay and a header whose fields later scripts can read.
local MAX_ID = 64 -- characters

-- Returns nil, or the error's name if the job would stop a script that meets it later.
-- others: whether it may have a header of a newer version, since it is not the caller who made it.
local function fault(id, delay, data, others)
  local flags, expires, rank = string.match(data or '', '^1;(%a*);[^;\n]*;(%d*);([^;\n]*)[;\n]')
  if not flags and others and newer('0;' .. data) then flags, rank = '', '' end
  if not flags or not whole(delay) or #id > MAX_ID or not string.find(id, '^%w[%w._-]*$') then return 'TASKQ_ARGS' end
  if string.find(flags, 'x', 1, true) and not whole(expires) then return 'TASKQ_ARGS' end
  if rank ~= '' then
    local number = tonumber(rank)
    if not number or number - number ~= 0 then return 'TASKQ_PRIORITY' end
  end
  return nil
end
