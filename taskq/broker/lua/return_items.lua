-- return_items: puts items that nobody used after all back at their places, or drops them after a shutdown at once.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session items tally getters joiners
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
  if not place or place - place ~= 0 or #(ARGV[i + 1] or '') < 16 then
    return redis.error_reply('TASKQ_ARGS return_items was given place ' .. ARGV[i])
  end
end
local count = (#ARGV - REST) / 2
if drop_back(count) then
  count = 0
else
  for i = REST + 1, #ARGV, 2 do redis.call('ZADD', key_items, ARGV[i], ARGV[i + 1]) end
  summon(key_getters, count)
  redis.call('PERSIST', key_tally)
end
reply = digits(count)
remember(reply)
return {reply}
