-- compare: finds on a page of one key's members those that another key lacks, or those that it must not have.
-- Flags: no-writes
-- Moves: none
-- KEYS: first second
-- ARGV: cursor count wanted
--   wanted: '1' each member of the first must be in the second, '0' none may; cursor: '0' begins and ends
-- Returns: {cursor, then members that are not as wanted}
-- include text
-- include member
local count, kind = whole(arg_count), redis.call('TYPE', key_first).ok
if not count or count == 0 or not whole(arg_cursor) or (arg_wanted ~= '1' and arg_wanted ~= '0') then
  return redis.error_reply('TASKQ_ARGS compare was given cursor ' .. arg_cursor .. ' and count ' .. arg_count)
end
if kind == 'none' then return {'0'} end
local page = redis.call(kind == 'hash' and 'HSCAN' or 'ZSCAN', key_first, arg_cursor, 'COUNT', math.min(count, 500))
local reply = {page[1]}
for i = 1, #page[2], 2 do
  if has(key_second, page[2][i]) ~= (arg_wanted == '1') then reply[#reply + 1] = page[2][i] end
end
return reply
