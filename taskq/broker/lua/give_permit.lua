-- give_permit: gives a permit back, and hands it to the next in line.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session permits holders fences line
-- ARGV: seq first channels lease_us ttl_ms bounded limit count dead then addresses
--   count: permits to add that nobody holds, for semaphores; bounded '1' refuses more than the limit
--   addresses: of holders that give theirs back, or of waiters that leave; dead '1': as if their leases were over
-- Returns: {'G', how many of the addresses held one}; {'B', n} it would be more than the limit, and of the holders the
--   first n hold no more, as others have added permits for theirs
-- include clock
-- include text
-- include session
-- include guard
-- include lease
-- include line
-- include permits
local reply, failure = recall()
if failure then return failure end
if reply then return {string.match(reply, '^(%a);?(.*)$')} end
local lease, count = whole(arg_lease_us), whole(arg_count)
if not lease or lease == 0 or not count or not whole(arg_limit) or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS give_permit was given lease ' .. arg_lease_us .. ' and count ' .. arg_count)
end
local longest = longest_lease(lease, key_permits)
local now, grace, jump = guarded_clock(longest, lease / BEATS, key_holders, key_permits)
lapse(now, grace, jump, longest)
local held = {}
for i = REST + 1, #ARGV do
  if redis.call('ZSCORE', key_holders, ARGV[i]) then held[#held + 1] = ARGV[i] end
end
redis.call('HSETNX', key_permits, 'limit', arg_limit)
if arg_bounded == '1' and free_permits() + #held + count > whole(arg_limit) then
  local extra = whole(redis.call('HGET', key_permits, 'extra')) or 0
  reply = {'B', digits(settle_up({unpack(held, 1, math.min(#held, extra))}))}
else
  for i = REST + 1, #ARGV do redis.call('ZREM', key_line, ARGV[i]) end
  if arg_dead == '1' then settle_up(held) else for _, address in ipairs(held) do take_back(address) end end
  if count > 0 then redis.call('HINCRBY', key_permits, 'extra', count) end
  hand_over(now, longest)
  reply = {'G', digits(#held)}
end
for _, key in ipairs({key_permits, key_holders, key_fences, key_line}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
remember(table.concat(reply, ';'))
return reply
