-- keep_permits: renews the leases of holders.
-- Flags: allow-oom
-- Moves: none
-- KEYS: session holders permits fences line
-- ARGV: seq first lease_us ttl_ms then addresses
-- Returns: {addresses that hold no permit any more}; with a '+' before it one that is used up, not lost: it stood for one
--   that was added, such as a signal that was consumed, and both are gone, or they would be renewed for ever
-- include clock
-- include text
-- include session
-- include guard
-- include lease
local stored, failure = recall()
if failure then return failure end
local gone = {}
if stored then
  for address in string.gmatch(stored, '[^\n]+') do gone[#gone + 1] = address end
  return gone
end
local lease = whole(arg_lease_us)
if not lease or lease == 0 or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS keep_permits was given lease ' .. arg_lease_us)
end
local now, _, jump = guarded_clock(longest_lease(lease, key_permits), lease / BEATS, key_holders, key_permits)
if jump == 'back' then redis.call('HDEL', key_permits, 'since') end -- a time of the clock as it was, see lease
local added = whole(redis.call('HGET', key_permits, 'extra')) or 0
local used = {}
for i = REST + 1, #ARGV do
  if not redis.call('ZSCORE', key_holders, ARGV[i]) then
    gone[#gone + 1] = ARGV[i]
  elseif #used < added then
    redis.call('ZREM', key_holders, ARGV[i])
    redis.call('HDEL', key_fences, ARGV[i])
    used[#used + 1] = '+' .. ARGV[i]
  else
    redis.call('ZADD', key_holders, 'XX', digits(now + lease), ARGV[i])
  end
end
if #used > 0 then redis.call('HINCRBY', key_permits, 'extra', -#used) end
for _, address in ipairs(used) do gone[#gone + 1] = address end
for _, key in ipairs({key_permits, key_holders, key_fences, key_line}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
remember(table.concat(gone, '\n'))
return gone
