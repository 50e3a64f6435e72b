-- get_items: takes items off a data queue, for good or under a lease, or stands in line for one.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta items tally getters putters joiners claims claimed
-- ARGV: seq first channels address turn most max_bytes claim lease_us ttl_ms
--   turn: '' does not wait, '0' takes a place at the end of the line, another number is the place it had
--   claim: '1' keeps the items under a lease, else they are gone
-- Returns: {'I', members...}; {'C', claim, member, claim, member...}; {'W', turn, us until it should look again};
--   {'N'} empty; {'S'} empty and shut down; {'U'} undeclared
-- include clock
-- include text
-- include session
-- include guard
-- include line
-- include items
-- include claims
local FIRST_STEP = 16 -- items read before their size is known: one may be large, and the server waits

local function unpacked(stored) -- what was taken by this very call, whose reply was lost
  local reply, at = {string.sub(stored, 1, 1)}, 2
  while at <= #stored do
    local stop = string.find(stored, ';', at, true)
    local size = tonumber(string.sub(stored, at, stop - 1))
    reply[#reply + 1] = string.sub(stored, stop + 1, stop + size)
    at = stop + size + 1
  end
  return reply
end
local stored, failure = recall()
if failure then return failure end
if stored then return unpacked(stored) end
local most, lease, max_bytes = whole(arg_most), whole(arg_lease_us), whole(arg_max_bytes)
if not most or most == 0 or not lease or lease < BEATS or not max_bytes or not whole(arg_ttl_ms)
  or (arg_turn ~= '' and (not whole(arg_turn) or arg_address == '')) then
  return redis.error_reply('TASKQ_ARGS get_items was given most ' .. arg_most .. ', turn ' .. arg_turn)
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize')
if not meta[1] then return {'U'} end
local now, lapses = put_back_lapsed(lease)
local members, places, bytes, step = {}, {}, 0, FIRST_STEP
while #members < most and step > 0 do
  local found = redis.call('ZRANGE', key_items, #members, math.min(#members + step, most) - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    bytes = bytes + #found[i]
    if #members > 0 and bytes > max_bytes then break end
    members[#members + 1], places[#members + 1] = found[i], found[i + 1]
  end
  step = #found < 2 * step and 0 or math.floor((max_bytes - bytes) * #members / bytes)
end
local reply = {'I'}
if #members > 0 then
  call_chunked('ZREM', key_items, members, 2000)
  step_out(key_getters, arg_address)
  if arg_claim == '1' then reply[1] = 'C' end
  for i, member in ipairs(members) do
    if arg_claim == '1' then reply[#reply + 1] = add_claim(places[i], member, now, lease) end
    reply[#reply + 1] = member
  end
  local maxsize = whole(meta[2]) or 0
  if maxsize > 0 then offer_room(maxsize, #members) end
  if redis.call('EXISTS', key_items) == 1 then summon(key_getters, 1) else age() end
elseif redis.call('HGET', key_tally, 'shutdown') == '1' then
  reply = {'S'}
  age()
elseif arg_turn == '' then
  reply = {'N'}
else
  local turn, again = line_up(key_getters, arg_address, arg_turn, lapses)
  reply = {'W', turn, again}
  age()
end
stored = {reply[1]}
for i = 2, #reply do stored[#stored + 1] = #reply[i] .. ';' .. reply[i] end
remember(table.concat(stored))
return reply
