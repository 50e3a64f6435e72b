-- keep_permits: renews the leases of holders.
-- Flags: allow-oom
-- Moves: none
-- KEYS: holders permits fences line
-- ARGV: lease_us ttl_ms then addresses
-- Returns: {addresses that hold no permit any more}; no session, as it may run twice
-- include clock
-- include text
-- include guard
local lease = whole(arg_lease_us)
if not lease or lease == 0 or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS keep_permits was given lease ' .. arg_lease_us)
end
local now, _, jump = guarded_clock(lease, lease / BEATS, key_holders, key_permits)
if jump == 'back' then redis.call('HDEL', key_permits, 'since') end -- a time of the clock as it was, see permits
local lost = {}
for i = REST + 1, #ARGV do
  if redis.call('ZSCORE', key_holders, ARGV[i]) then
    redis.call('ZADD', key_holders, 'XX', digits(now + lease), ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
for _, key in ipairs({key_permits, key_holders, key_fences, key_line}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
return lost
