-- keep_barrier: renews the leases of parties that wait, and breaks the barrier where another's is over.
-- Flags: allow-oom
-- Moves: none
-- KEYS: deadlines barrier arrived failed
-- ARGV: channels lease_us ttl_ms then addresses
-- Returns: {}; no session, as it may run twice
-- include clock
-- include text
-- include guard
-- include lease
-- include line
-- include barrier
-- include parties
local lease = whole(arg_lease_us)
if not lease or lease == 0 or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS keep_barrier was given lease ' .. arg_lease_us)
end
local parties = whole(redis.call('HGET', key_barrier, 'parties'))
if not parties then return {} end -- the server has lost what it knew
local longest = longest_lease(lease, key_barrier)
local now, grace, jump = guarded_clock(longest, lease / BEATS, key_deadlines, key_barrier)
for i = REST + 1, #ARGV do redis.call('ZADD', key_deadlines, 'XX', digits(now + lease), ARGV[i]) end
lapse(now, grace, jump, longest, parties)
local generation = present(parties)
if now < grace and redis.call('HEXISTS', key_barrier, 'actor') == 0 and not is_in_doubt(generation, now, parties) then
  nudge(generation, parties) -- it may be full, and was kept closed by a doubt that is over now
end
for _, key in ipairs({key_barrier, key_arrived, key_deadlines, key_failed}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
return {}
