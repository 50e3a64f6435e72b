-- put_items: puts items on a data queue as far as its bound allows, and calls up who waits for them.
-- Flags: none
-- Moves: none
-- KEYS: session meta items tally getters putters
-- ARGV: seq first channels address turn ttl_ms then items: place item
--   turn: '' does not wait for room, '0' takes a place at the end of the line, another number is the place it had
--   place: a number for priority queues, else ''
-- Returns: {'A', accepted} all; {'F', accepted} full; {'W', accepted, turn, us until it should look again}; {'S'} shut down; {'U'} undeclared
-- include text
-- include session
-- include line
-- include items
local reply, failure = recall()
if failure then return failure end
if reply then return {string.match(reply, '^(%a);([^;]*);([^;]*);(.*)$')} end
local count = (#ARGV - REST) / 2
if count ~= math.floor(count) or not whole(arg_ttl_ms) or (arg_turn ~= '' and (not whole(arg_turn) or arg_address == '')) then
  return redis.error_reply('TASKQ_ARGS put_items was given ' .. #ARGV .. ' values that do not fit')
end
local meta = redis.call('HMGET', key_meta, 'discipline', 'maxsize')
local tally = redis.call('HMGET', key_tally, 'seq', 'unfinished', 'shutdown')
if not meta[1] then return {'U'} end
if tally[3] == '1' then return {'S'} end
local priority, sign = meta[1] == 'priority', meta[1] == 'lifo' and -1 or 1
for i = REST + 1, #ARGV, 2 do
  local place = tonumber(ARGV[i])
  if priority and (not place or place - place ~= 0) then return redis.error_reply('TASKQ_PRIORITY ' .. ARGV[i]) end
end
local maxsize, seq = whole(meta[2]) or 0, whole(tally[1]) or 0
local accepted = count
if maxsize > 0 then accepted = math.max(0, math.min(count, maxsize - redis.call('ZCARD', key_items))) end
local added = {}
for i = 1, accepted do
  local at = REST + 2 * i
  seq = seq + 1
  added[#added + 1] = priority and ARGV[at - 1] or sign * seq
  added[#added + 1] = string.format('%016.0f', seq) .. ARGV[at]
end
if accepted > 0 then
  call_chunked('ZADD', key_items, added, 2000)
  redis.call('HSET', key_tally, 'seq', digits(seq), 'unfinished', digits((whole(tally[2]) or 0) + accepted))
  redis.call('PERSIST', key_tally) -- as long as items may be there: their order must not begin anew
  summon(key_getters, accepted)
end
if accepted == count then
  step_out(key_putters, arg_address)
  -- There may be more room, if somebody who was told died, or the bound was raised.
  if maxsize > 0 or arg_turn ~= '' then offer_room(maxsize, 1) end
  reply = {'A', digits(count), '', ''}
elseif arg_turn == '' then
  reply = {'F', digits(accepted), '', ''}
else
  local turn, again = line_up(key_putters, arg_address, arg_turn)
  reply = {'W', digits(accepted), turn, again}
end
remember(table.concat(reply, ';'))
return reply
