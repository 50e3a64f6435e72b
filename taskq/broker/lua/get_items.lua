-- get_items: takes items off a data queue, for good or under a lease, or stands in line for one.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta items tally getters putters claims claimed
-- ARGV: seq first channels address turn most max_bytes claim lease_us ttl_ms
--   turn: '' does not wait, '0' takes a place at the end of the line, another number is the place it had
--   claim: '1' keeps the items under a lease, else they are gone
-- Returns: {'I', members...}; {'W', turn, us until it should look again}; {'N'} empty; {'S'} empty and shut down; {'U'} undeclared
-- include clock
-- include text
-- include session
-- include guard
-- include line
-- include items
-- include claims
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
if not most or not lease or lease == 0 or not max_bytes or not whole(arg_ttl_ms) or (arg_turn ~= '' and not whole(arg_turn)) then
  return redis.error_reply('TASKQ_ARGS get_items was given most ' .. arg_most .. ', turn ' .. arg_turn)
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize')
if not meta[1] then return {'U'} end
local now, lapses = put_back_lapsed(lease)
local taken = most > 0 and redis.call('ZRANGE', key_items, 0, most - 1, 'WITHSCORES') or {}
local reply, gone, bytes, claimed = {'I'}, {}, 0, {}
for i = 1, #taken, 2 do
  bytes = bytes + #taken[i]
  if #gone > 0 and bytes > max_bytes then break end
  gone[#gone + 1] = taken[i]
  reply[#reply + 1] = taken[i]
  claimed[#claimed + 1] = taken[i + 1]
end
if #gone > 0 then
  if arg_claim == '1' then
    for i, member in ipairs(gone) do
      local id = string.sub(member, 1, 16)
      redis.call('HSET', key_claimed, id, claimed[i] .. ';' .. member)
      redis.call('ZADD', key_claims, digits(now + lease), id)
    end
  end
  call_chunked('ZREM', key_items, gone, 2000)
  redis.call('ZREM', key_getters, arg_address)
  offer_room(whole(meta[2]) or 0, #gone)
  if redis.call('EXISTS', key_items) == 0 then
    redis.call('PEXPIRE', key_tally, arg_ttl_ms)
  elseif redis.call('EXISTS', key_getters) == 1 then
    call_up(key_getters, 1)
  end
elseif redis.call('HGET', key_tally, 'shutdown') == '1' then
  reply = {'S'}
elseif arg_turn == '' then
  reply = {'N'}
else
  local turn, again = line_up(key_getters, arg_address, arg_turn, lapses)
  reply = {'W', turn, again}
end
stored = {reply[1]}
for i = 2, #reply do stored[#stored + 1] = #reply[i] .. ';' .. reply[i] end
remember(table.concat(stored))
return reply
