-- give_permit: gives a permit back, and hands it to the next in line.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session permits holders fences line
-- ARGV: seq first channels lease_us ttl_ms bounded limit count then addresses
--   count: permits to add that nobody holds, for semaphores; bounded '1' refuses more than the limit
--   addresses: of holders that give theirs back, or of waiters that leave
-- Returns: {'G', how many of the addresses held one}; {'B'} it would be more than the limit
-- include clock
-- include text
-- include session
-- include guard
-- include line
-- include permits
local BEATS = 5 -- of a holder within its lease
local reply, failure = recall()
if failure then return failure end
if reply then return {string.match(reply, '^(%a);?(.*)$')} end
local lease, count = whole(arg_lease_us), whole(arg_count)
if not lease or lease == 0 or not count or not whole(arg_limit) or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS give_permit was given lease ' .. arg_lease_us .. ' and count ' .. arg_count)
end
local now, grace = guarded_clock(lease, lease / BEATS, key_holders, key_permits)
lapse(now, grace)
local returned = 0
for i = REST + 1, #ARGV do
  if redis.call('ZSCORE', key_holders, ARGV[i]) then returned = returned + 1 end
end
redis.call('HSETNX', key_permits, 'limit', arg_limit)
if arg_bounded == '1' and count > 0 and free_permits() + returned + count > whole(arg_limit) then
  reply = {'B', ''}
else
  for i = REST + 1, #ARGV do
    redis.call('ZREM', key_line, ARGV[i])
    take_back(ARGV[i])
  end
  if count > 0 then redis.call('HINCRBY', key_permits, 'extra', count) end
  hand_over(now + lease)
  reply = {'G', digits(returned)}
end
for _, key in ipairs({key_permits, key_holders, key_fences, key_line}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
remember(table.concat(reply, ';'))
return reply
