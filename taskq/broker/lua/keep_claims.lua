-- keep_claims: renews the leases of claimed items.
-- Flags: allow-oom
-- Moves: none
-- KEYS: claims tally
-- ARGV: lease_us then claims
-- Returns: {claims that are lost}; no session, as it may run twice
-- include clock
-- include text
-- include guard
-- include line
-- include items
-- include claims
local lease = whole(arg_lease_us)
if not lease or lease < BEATS then return redis.error_reply('TASKQ_ARGS keep_claims was given lease ' .. arg_lease_us) end
local now = redis.call('EXISTS', key_claims) == 1 and claims_clock(lease)
local lost = {}
for i = REST + 1, #ARGV do
  if redis.call('ZSCORE', key_claims, ARGV[i]) then
    redis.call('ZADD', key_claims, 'XX', digits(now + lease), ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
