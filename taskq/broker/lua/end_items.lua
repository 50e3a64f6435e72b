-- end_items: counts items as finished, of claims that are done or simply by number, or gives claims back.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session items tally getters joiners claims claimed
-- ARGV: seq first channels ttl_ms count back then claims
--   count: items that were taken for good; back: '1' puts the claimed items back at their place, if they are wanted
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
if not count or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS end_items takes a number of items, not ' .. arg_count)
end
local lost, back, ended = 0, 0, 0
for i = REST + 1, #ARGV do
  if not redis.call('ZSCORE', key_claims, ARGV[i]) then
    lost = lost + 1
  elseif arg_back == '1' then
    back = back + put_back(ARGV[i])
  else
    drop_claim(ARGV[i])
    ended = ended + 1
  end
end
reply = digits(lost)
if ended > 0 then finish(math.min(ended, whole(redis.call('HGET', key_tally, 'unfinished')) or 0)) end
if count > 0 and not finish(count) then reply = 'E' end
summon(key_getters, back)
age()
remember(reply)
return {reply}
