-- end_items: counts items as finished, of claims that are done or simply by number, or gives claims back.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session meta items tally getters putters joiners claims claimed
-- ARGV: seq first channels count back then claims
--   back: '1' puts the claimed items back at their place
-- Returns: {claims that were lost}; {'E'} more were counted than were put
-- include text
-- include session
-- include line
-- include items
-- include claims
local reply, failure = recall()
if failure then return failure end
if reply then return {reply} end
local count = whole(arg_count)
if not count then return redis.error_reply('TASKQ_ARGS end_items takes a number of items, not ' .. arg_count) end
local lost, back = 0, 0
for i = REST + 1, #ARGV do
  if not redis.call('ZSCORE', key_claims, ARGV[i]) then
    lost = lost + 1
  elseif arg_back == '1' then
    back = back + put_back(ARGV[i])
  else
    redis.call('HDEL', key_claimed, ARGV[i])
    redis.call('ZREM', key_claims, ARGV[i])
    count = count + 1
  end
end
if back > 0 then call_up(key_getters, back) end
reply = digits(lost)
if count > 0 and not finish(count) then reply = 'E' end
remember(reply)
return {reply}
