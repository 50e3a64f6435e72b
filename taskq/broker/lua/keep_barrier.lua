-- keep_barrier: renews the leases of parties that wait, and breaks the barrier where another's is over.
-- Flags: allow-oom
-- Moves: none
-- KEYS: deadlines barrier arrived failed
-- ARGV: channels lease_us ttl_ms then addresses
-- Returns: {}; no session, as it may run twice
-- include clock
-- include text
-- include guard
-- include line
-- include barrier
local lease = whole(arg_lease_us)
if not lease or lease == 0 or not whole(arg_ttl_ms) then
  return redis.error_reply('TASKQ_ARGS keep_barrier was given lease ' .. arg_lease_us)
end
local parties = whole(redis.call('HGET', key_barrier, 'parties'))
if not parties then return {} end -- the server has lost what it knew
local now, grace = guarded_clock(lease, lease / BEATS, key_deadlines, key_barrier)
for i = REST + 1, #ARGV do redis.call('ZADD', key_deadlines, 'XX', digits(now + lease), ARGV[i]) end
lapse(now, grace, parties)
for _, key in ipairs({key_barrier, key_arrived, key_deadlines, key_failed}) do redis.call('PEXPIRE', key, arg_ttl_ms) end
return {}
