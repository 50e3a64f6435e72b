-- return_items: puts items that nobody used after all back at their places.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session items tally getters putters joiners
-- ARGV: seq first channels then items: place member
-- Returns: {items put back}
-- include text
-- include session
-- include line
-- include items
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
for i = REST + 1, #ARGV, 2 do
  local place = tonumber(ARGV[i])
  if not place or place - place ~= 0 or not ARGV[i + 1] then return redis.error_reply('TASKQ_ARGS return_items was given place ' .. ARGV[i]) end
end
local count = (#ARGV - REST) / 2
for i = REST + 1, #ARGV, 2 do redis.call('ZADD', key_items, ARGV[i], ARGV[i + 1]) end
call_up(key_getters, count)
reply = digits(count)
remember(reply)
return {reply}
